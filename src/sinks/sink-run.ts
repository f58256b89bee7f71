/**
 * Brings the messages of a sink to its target, while this process is the holder of the sink's lease.
 *
 * - A message goes to the target directly, and the position moves on when the target has it.
 * - While the target is down or slow, or the sink is paused, messages go to the spool in the state database, and the
 *   position moves on with that. They are sent in their order when the target takes messages again.
 * - A message that the target refuses waits in a lane of the spool, together with later messages of its key. Other keys
 *   pass. After the last attempt it is parked, and the rest of its lane follows.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { copyable, isParcelStorable, loseIfTooLarge } from "./copyable.ts";
import { Courier, newParcel, type Parcel, WINDOW } from "./courier.ts";
import { LANES_MAX, Lanes } from "./lanes.ts";
import { MainQueue } from "./main-queue.ts";
import { Outage } from "./outage.ts";
import { Refusals } from "./refusals.ts";
import { RightsChange } from "./rights-change.ts";
import { runLane } from "./run-lane.ts";
import type { ParkedMessage, SinkPosition } from "./sink-documents.ts";
import { AHEAD_MAX, SinkProgress } from "./sink-progress.ts";
import type { RunEnd, SinkRunParts } from "./sink-run-parts.ts";
import { SinkWriter } from "./sink-writer.ts";
import { stopRun } from "./stop-run.ts";
import type { Refusal, SendResult, SinkMessage } from "./target.ts";

/** How long messages wait for a slow target in memory before they go to the spool, in milliseconds. */
const SLOW_MS = 1_000;

/** One run: from the state that the holder has found, until the lease, the target or the spool ends it. */
export class SinkRun {
  readonly #parts: SinkRunParts;
  readonly #courier: Courier;
  readonly #writer: SinkWriter;
  readonly #lanes: Lanes;
  readonly #progress: SinkProgress;
  /** The last point that was taken. */
  #followed: SinkPosition | null;
  #lastSeq: number;
  readonly #queue: MainQueue;
  #isPaused: boolean;
  /** Whether the rules show the sink anything. Without claims, no rule applies. */
  #isAllowed: boolean;
  readonly #rights: RightsChange;
  readonly #outage: Outage;
  readonly #refusals: Refusals;
  #isOver = false;

  constructor(parts: SinkRunParts, isPaused: boolean) {
    const { ledger, options, target, store, answer, name, turn, log } = parts;
    this.#parts = parts;
    this.#isPaused = isPaused;
    this.#isAllowed = options.as === undefined;
    const { position, ahead, lastSeq } = ledger.saved;
    this.#progress = new SinkProgress(position, options.aggregate === undefined ? ahead : null);
    this.#followed = position;
    this.#lastSeq = lastSeq;
    const isSpooling = ledger.spooledMessages > 0 || isPaused;
    const failed = (error: unknown) => this.#end({ kind: "failed", error });
    this.#courier = new Courier(target, options.concurrency, {
      maySend: parts.isHeld,
      settled: (parcel, result) => this.#settled(parcel, result),
      failed,
    });
    this.#writer = new SinkWriter({
      save: (writes) => answer(() => store.save(name, turn, writes)),
      state: () => ledger.state(this.#progress.position, this.#lastSeq, this.#progress.ahead),
      saved: (accepted) => this.#courier.noteSaved(accepted),
      superseded: () => this.#end({ kind: "superseded" }),
      failed,
      log,
    });
    const isHalted = () => this.#isHalted;
    const sending = { ...parts, courier: this.#courier, writer: this.#writer, isHalted, failed };
    this.#rights = new RightsChange(sending);
    const onParcel = (parcel: Parcel) => {
      if (this.#lanes.has(parcel.message.key)) this.#spool(parcel, parcel.message.key);
      else this.#courier.add(parcel);
    };
    this.#queue = new MainQueue({ ...sending, onReload: () => this.#lanes.wake(), onParcel }, isSpooling);
    this.#outage = new Outage(parts, () => {
      this.#courier.tiptoe();
      this.#proceed();
    });
    this.#lanes = new Lanes(parts, (lane) => runLane(lane, this.#lanes, sending).catch(failed));
    this.#refusals = new Refusals(parts, this.#lanes);
  }

  /** Takes over the messages that wait for a retry, and begins. */
  async start(): Promise<void> {
    const { answer, store, name } = this.#parts;
    for (const { lane, dueAtMs } of await answer(() => store.lanes(name, LANES_MAX)))
      this.#lanes.block(lane, dueAtMs);
    this.#proceed();
  }

  /** The point from which the live query has to be followed; `null` for a fresh start. */
  get position(): SinkPosition | null {
    return this.#followed;
  }

  /** When the oldest message in memory arrived, in epoch milliseconds; `null` if there is none. */
  get oldestMs(): number | null {
    return this.#courier.oldestMs;
  }

  /** The state has changed otherwise. */
  touch(): void {
    this.#writer.touch();
  }

  /** The live query goes on from elsewhere, so that messages after the position do not arrive again. */
  noteReset(): void {
    this.#progress.forgetKnown();
    this.#writer.touch();
  }

  /** Whether messages wait that were decided under the rights so far. */
  get hasWaiting(): boolean {
    return this.#courier.size > 0 || this.#parts.ledger.spooledMessages > 0;
  }

  /**
   * The rights of the sink change: the messages that follow are the difference. Nothing is sent before `endDifference`,
   * because a message that waits may say what the new rights forbid.
   */
  beginDifference(): void {
    this.#parts.ledger.noteRights();
    this.noteReset();
    if (!this.hasWaiting) return;
    this.#rights.begin();
    this.#takeBack();
  }

  /** The difference is complete: with it, the last message of each document says what the new rights show. */
  async endDifference(): Promise<void> {
    await this.#rights.end();
    this.#proceed();
  }

  /** Takes a point up to which nothing is to be sent. */
  note(position: SinkPosition): void {
    const seq = ++this.#lastSeq;
    this.#followed = position;
    this.#progress.arrive(seq, null, position);
    this.#progress.settle(seq);
    this.#writer.touch();
  }

  /**
   * Takes a message. Settles when the next one may be given.
   * @param position The point after it; `null` where a sink must not resume.
   */
  async take(message: SinkMessage, position: SinkPosition | null): Promise<void> {
    const atMs = Date.now();
    if (!this.#queue.isInUse && this.#courier.isFull(WINDOW)) await this.#waitForTarget();
    if (this.#isOver) return;
    // After the wait, because a replayed message may have come first and begun the spool at its own place.
    const seq = ++this.#lastSeq;
    const parcel = newParcel(seq, message, atMs);
    this.#followed = position ?? this.#followed;
    if (this.#progress.arrive(seq, message.id, position)) {
      this.#writer.touch();
      return;
    }
    // While the main queue of the spool is in use, the lane of a key holds only messages from before it.
    if (this.#queue.isInUse) this.#spool(parcel, null);
    else if (this.#lanes.has(message.key)) this.#spool(parcel, message.key);
    else {
      this.#courier.add(parcel);
      return;
    }
    await this.#writer.room();
  }

  /** Sends a parked message again, after everything that has arrived so far. */
  async replay({ message }: ParkedMessage): Promise<void> {
    const seq = ++this.#lastSeq;
    this.#beginSpooling(seq);
    // It begins to wait now, because its first arrival may be longer ago than the spool's age allows.
    this.#spool(newParcel(seq, message, Date.now()), null);
    this.forget(message.id);
    // It would be found among the parked ones again before that.
    await this.#writer.flush();
    this.#proceed();
  }

  /** Removes a parked message. */
  forget(id: string): void {
    this.#parts.ledger.noteParked(-1);
    this.#writer.unpark(id);
  }

  pause(isPaused: boolean): void {
    if (this.#isPaused === isPaused) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#takeBack();
    // An admin who resumes the sink does not wait for the next attempt, which a receiver may have put off for a day.
    else this.#outage.retryNow();
    this.#proceed();
  }

  /** The live query of a sink with claims has begun or ended. Without one, nothing shows that it may still send. */
  allow(isAllowed: boolean): void {
    if (this.#parts.options.as === undefined || this.#isAllowed === isAllowed) return;
    this.#isAllowed = isAllowed;
    if (!isAllowed) this.#takeBack();
    this.#proceed();
  }

  /** Stops: waits a moment for the messages in flight, and saves everything. */
  async stop(): Promise<void> {
    this.#isPaused = true;
    await stopRun(this.#parts, this.#courier, this.#lanes, this.#writer);
    this.abandon();
  }

  /** Ends without saving anything more. */
  abandon(): void {
    this.#isOver = true;
    this.#courier.stop();
    this.#writer.end();
    this.#lanes.suspend();
    this.#outage.stop();
  }

  get #isHalted(): boolean {
    if (this.#isOver || this.#isPaused || this.#rights.isGoingOn) return true;
    return !this.#isAllowed || this.#outage.isWaiting;
  }

  #end(end: RunEnd): void {
    if (this.#isOver) return;
    this.abandon();
    this.#parts.onEnd(end);
  }

  /** The target is slower than the changes. If that goes on, they go to the spool, so that the position moves on. */
  async #waitForTarget(): Promise<void> {
    const abort = new AbortController();
    const late = sleep(SLOW_MS, undefined, { signal: abort.signal }).catch(() => {}); // it rejects on abort
    await Promise.race([this.#courier.below(WINDOW), late]);
    abort.abort();
    if (!this.#courier.isFull(WINDOW)) return;
    this.#beginSpooling(this.#lastSeq + 1);
    this.#proceed();
  }

  /** From this message on, messages go to the spool. */
  #beginSpooling(seq: number): void {
    if (this.#queue.isInUse) return;
    this.#queue.begin(seq);
    this.#copyToSpool();
  }

  /**
   * Copies the messages of the courier to the spool. Otherwise the next holder would send later messages of the spool
   * first, because it finds these only in the live query.
   */
  #copyToSpool(): void {
    for (const parcel of copyable(this.#courier.unsaved())) {
      this.#spool(parcel, null);
      parcel.lane = null;
    }
  }

  /** @param lane `null` for the main queue, or the key. */
  #spool(parcel: Parcel, lane: string | null, retry?: { dueAtMs: number; reason: string }): void {
    const { seq, message, bytes, atMs, attempts } = parcel;
    const { ledger, options } = this.#parts;
    if (parcel.lane === undefined) {
      if (loseIfTooLarge(this.#parts, parcel)) {
        this.#progress.settle(seq);
        return;
      }
      ledger.noteSpooled(bytes);
    }
    const { dueAtMs = null, reason = null } = retry ?? {};
    this.#writer.spool({ seq, lane, message, atMs, attempts, dueAtMs, reason });
    if (lane === null) this.#queue.noteAdded(seq);
    else this.#lanes.noteAdded(lane);
    // The write that saves the message saves the position as well.
    this.#progress.settle(seq);
    if (ledger.spooledBytes > options.spool.bytes) this.#end({ kind: "reset", reason: "spool-bytes" });
  }

  #settled(parcel: Parcel, result: SendResult): void {
    if (this.#isOver) return;
    if (result.kind === "accepted") this.#accepted(parcel);
    else if (result.kind === "refused") this.#refused(parcel, result);
    else if (result.kind === "unavailable") this.#unavailable(parcel, result.reason, result.retryAfterMs);
    else this.#end({ kind: "gone", reason: result.reason });
  }

  #accepted(parcel: Parcel): void {
    const { ledger, rows, log, name } = this.#parts;
    if (this.#outage.isGoingOn) log.info({ sink: name }, "the target takes messages again");
    if (ledger.trouble !== null) ledger.noteTrouble(null);
    this.#outage.end();
    this.#refusals.noteAccepted();
    this.#courier.hurry();
    ledger.noteDelivered();
    rows?.noteAccepted(parcel.message);
    this.#writer.noteAccepted();
    this.#left(parcel);
    if (parcel.lane !== undefined && parcel.lane !== null) this.#continueLane(parcel.lane);
  }

  /** The message is at the target, or parked. */
  #left({ seq, lane, bytes }: Parcel): void {
    if (lane !== undefined) {
      this.#parts.ledger.noteSpooled(-bytes);
      this.#writer.remove(seq);
    }
    this.#settle(seq);
    this.#writer.touch();
  }

  #settle(seq: number): void {
    this.#progress.settle(seq);
    if (this.#progress.held < AHEAD_MAX) return;
    // One message that takes long must not hold the position back for ever, because the save names all that came after it.
    const { ledger, options } = this.#parts;
    for (const parcel of this.#courier.unsaved()) {
      // A copy only spares repetitions, so it must not be the reason for a reset.
      const hasRoom = ledger.spooledBytes + parcel.bytes <= options.spool.bytes;
      if (this.#progress.held < AHEAD_MAX / 2 || !hasRoom || !isParcelStorable(parcel)) return;
      this.#spool(parcel, null);
      parcel.lane = null;
    }
  }

  #refused(parcel: Parcel, refusal: Refusal): void {
    const { ledger, name, log } = this.#parts;
    const { reason, excerpt = "" } = refusal;
    const { id: event, key } = parcel.message;
    const attempts = parcel.attempts + 1;
    ledger.noteFailed();
    log.debug({ sink: name, event, excerpt }, "the answer of the target");
    if (loseIfTooLarge(this.#parts, parcel)) {
      // It can neither wait for another attempt nor be parked, and later messages of its key need not wait.
      this.#left(parcel);
      return;
    }
    const verdict = this.#refusals.judge(parcel, refusal);
    if (verdict.kind === "retry") {
      log.info({ sink: name, event, attempts, reason }, "the target refused a message");
      this.#spool({ ...parcel, attempts }, key, { ...verdict, reason });
      for (const later of this.#courier.withdrawKey(key)) if (later.lane !== key) this.#spool(later, key);
      this.#lanes.block(key, verdict.dueAtMs);
      return;
    }
    log.warn({ sink: name, event, attempts, reason: verdict.reason }, "a message was parked");
    const parked = { message: parcel.message, excerpt, attempts, atMs: parcel.atMs, reason: verdict.reason };
    this.#writer.park({ ...parked, parkedAtMs: Date.now(), rights: ledger.saved.rights });
    ledger.noteParked(1);
    this.#left(parcel);
    if (typeof parcel.lane === "string") this.#continueLane(parcel.lane);
    if (verdict.kind === "pause") this.#backOff(verdict.trouble);
  }

  /** The target is down: everything goes to the spool, and the target is tried again later. */
  #unavailable(parcel: Parcel, reason: string, retryAfterMs?: number): void {
    if (parcel.lane === undefined) this.#spool(parcel, null);
    this.#backOff(reason, retryAfterMs);
    if (typeof parcel.lane === "string") this.#lanes.block(parcel.lane, 0);
  }

  #backOff(reason: string, retryAfterMs?: number): void {
    const { name, log, ledger } = this.#parts;
    this.#takeBack();
    if (this.#outage.isWaiting || this.#isOver) return;
    if (!this.#outage.isGoingOn)
      log.warn({ sink: name, reason }, "the target cannot be reached; messages are spooled");
    this.#outage.begin(retryAfterMs);
    ledger.noteTrouble(reason);
    this.#writer.touch();
  }

  /** Puts everything that is not in flight into the spool. */
  #takeBack(): void {
    this.#queue.reload();
    this.#lanes.suspend();
    this.#copyToSpool();
    for (const parcel of this.#courier.withdraw()) {
      if (parcel.lane === undefined) this.#spool(parcel, null);
      else if (parcel.lane !== null) this.#lanes.block(parcel.lane, 0);
    }
  }

  #proceed(): void {
    if (this.#isHalted) return;
    if (!this.#queue.mustReload) this.#lanes.wake();
    this.#queue.proceed();
  }

  /** One message of a lane has left. When all that were read have left, the rest follows. */
  #continueLane(lane: string): void {
    if (!this.#courier.has(lane)) this.#lanes.block(lane, 0);
  }
}
