import type { StartReason, ValueMode } from "../protocol/messages.ts";
import type { Account } from "./account.ts";
import type { LogPosition } from "./catch-up-chunks.ts";
import type { EncodedEntry } from "./change-log.ts";
import type { Chunk } from "./chunk.ts";
import type { Position } from "./cursor.ts";
import {
  type Opening,
  openDelivery,
  openMoved,
  readFromOplog,
  reopenDelivery,
  type Started,
  type StartRequest,
} from "./delivery-opening.ts";
import type { DeliveryContext } from "./delivery-parts.ts";
import {
  DELIVERY_TRANSITIONS,
  type DeliveryEvent,
  isBeforeStart,
  isSending,
  type Phase,
} from "./delivery-phase.ts";
import { DeliveryStep, type StepOutcome } from "./delivery-step.ts";
import { extendLog, type Sent, sendFromOplog, sendMove, sendSnapshot } from "./delivery-steps.ts";
import { holdOf, newCatchUpWork, newSnapshotWork, releaseWork, type Work } from "./delivery-work.ts";
import type { Follower } from "./follower.ts";
import { canMove, type GrantPoint } from "./grant-diff.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LogEntry } from "./log-entry.ts";
import { type ResetReason, Resets } from "./resets.ts";
import type { Sink } from "./sink.ts";
import { chargeWaiting } from "./waiting-messages.ts";

/** With more consecutive reads of the oplog than this, the history is too short for this client. */
const OPLOG_READS_MAX = 5;

/**
 * Brings one live query to one connection: first a snapshot or the missed changes, then every change as it arrives.
 * This is the only place where the past and the present meet. A slow consumer, a resumption and a new subscription all
 * become live in `#catchUp`, in the same turn in which it finds nothing more to read, so there is no gap and no
 * overlap.
 */
export class Delivery implements Follower {
  readonly #context: DeliveryContext;
  /** The sink of the context, kept here because every change uses it. */
  readonly #sink: Sink;
  #phase: Phase = "opening";
  /**
   * The current step, or the last one. Each step has a new object, so a step knows by comparison whether it is still
   * current.
   */
  #work: Work = newCatchUpWork();
  /** Everything up to this entry of the history has been written … */
  #after = 0;
  /** … and this number of messages of the entry after it. */
  #written = 0;
  /** The position of `#after`, if it is known. */
  #position: Position | null = null;
  /**
   * Reads of the oplog since the delivery was last live, each because the history had evicted the commits to be sent.
   */
  #oplogReads = 0;
  /** `null` before the first reset. */
  #resets: Resets | null = null;
  /** Why the client is not up to date: it has missed changes, or it reads more slowly than changes arrive. */
  #behind: "nothing" | "missed" | "lagged" = "nothing";

  constructor(context: DeliveryContext) {
    this.#context = context;
    this.#sink = context.sink;
  }

  get liveQuery(): LiveQuery {
    return this.#context.liveQuery;
  }

  /** The user to whom the live query is charged. */
  get account(): Account {
    return this.#context.account;
  }

  get mode(): ValueMode {
    return this.#sink.mode;
  }

  /** How often the state of the client was voided. */
  get resets(): number {
    return this.#resets?.total ?? 0;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Commits between what was written and the head of the change stream; 0 while changes are written as they arrive. */
  get lagCommits(): number {
    return this.#phase === "live" ? 0 : Math.max(0, this.#context.parts.timeline.headSeq - this.#after);
  }

  get after(): number {
    return this.#after;
  }

  /** Whether the client lacks nothing, not even rows that are held back, and changes are written as they arrive. */
  get isLive(): boolean {
    return this.#phase === "live" && this.liveQuery.state.isCurrent && !this.isHeldBack;
  }

  /** Whether the client only lacks rows that are held back to be merged. */
  get isHeldBack(): boolean {
    return this.#phase === "live" && this.liveQuery.broadcast.heldSeq > this.#after;
  }

  /**
   * Decides how the subscription starts, and does everything that can fail. Nothing is written before `run`.
   * @throws {TidewireError} `snapshot-too-large`, `unavailable`, `too-many-subscriptions`
   */
  async open(request: StartRequest): Promise<Started> {
    return this.#adopt(await openDelivery(this.#context, request, () => this.#phase !== "closed"));
  }

  /** Like `open`, but synchronous, for an active subscription. Work that can fail follows later and is retried. */
  reopen(reason: StartReason): Started {
    return this.#adopt(reopenDelivery(this.#context, reason));
  }

  /** Whether a client that has the state of another live query can receive the difference (see `openMoved`). */
  canMoveFrom(held: LiveQuery): boolean {
    return canMove(held, this.liveQuery);
  }

  /**
   * Like `reopen`, for a client that has the state of another live query as of this very point. Only the difference is
   * sent.
   */
  openMoved(from: LiveQuery, at: GrantPoint): Started {
    return this.#adopt(openMoved(this.#context, from, at));
  }

  /** Starts to write. To be called once the answer of `open` has been written. */
  run(): void {
    if (this.#phase === "voided") this.#reset("history-lost");
    else if (this.#phase === "opening") this.#enter(this.#work.do, this.#work);
    else return;
    this.#startSteps();
  }

  fail(error: unknown): void {
    if (this.#phase !== "closed") this.#sink.failed(error);
  }

  close(): void {
    this.#enter("close", newCatchUpWork());
  }

  deliver(chunk: Chunk, { after, written }: LogPosition): void {
    if (this.#sink.write(chunk)) {
      this.#after = after;
      this.#written = written;
      return;
    }
    const begun = this.#written;
    // The consumer is slow. Nothing more is kept for it: after it has drained, it continues from here.
    this.#context.parts.metrics.lagged.inc();
    this.#behind = "lagged";
    this.#enter("catch-up", newCatchUpWork());
    this.#written = begun;
    this.#startSteps();
  }

  skipTo({ seq, entry }: LogEntry): void {
    this.#after = seq;
    this.#written = 0;
    this.#sink.noteUnchanged(entry.cursor);
  }

  /**
   * Sends the rows that are held back to this client, which then has the state of this very point. While a batch is being
   * delivered there is no such point. A failure ends this delivery alone. Never throws.
   */
  sendHeld(): void {
    if (!this.isHeldBack || !this.#context.parts.timeline.isSettled) return;
    try {
      if (this.liveQuery.broadcast.handHeld(this)) return;
      this.#enter("catch-up", newCatchUpWork());
      this.#startSteps();
    } catch (error) {
      this.fail(error);
    }
  }

  startOver(): void {
    const before = this.#phase;
    // Nothing may be written before the client knows the subscription. `run` resets it then.
    if (isBeforeStart(before)) this.#phase = DELIVERY_TRANSITIONS[before].void;
    else this.#reset("history-lost");
    if (before === "live") this.#startSteps();
  }

  #adopt({ started, work, after, position, hasMissed }: Opening): Started {
    // The client left while the start was prepared, so nothing else would release the memory and streams of the work.
    if (this.#phase === "closed") releaseWork(work);
    else this.#work = work;
    this.#after = after;
    this.#position = position ?? null;
    if (hasMissed) this.#behind = "missed";
    return started;
  }

  #startSteps(): void {
    this.#runSteps().catch((error: unknown) => this.fail(error));
  }

  /** Runs steps until the delivery is live or closed. */
  async #runSteps(): Promise<void> {
    // Never in the turn of a flush, because the set of followers must not change while it is iterated.
    await null;
    while (isSending(this.#phase)) {
      if (this.#resets?.isOwed === true) {
        await this.#announceReset(this.#resets);
        continue;
      }
      const outcome = await this.#runStep();
      if (outcome === "live") return;
      if (outcome === "lost") this.#reset(this.#behind === "lagged" ? "lagged" : "history-lost");
      else if (outcome === "lagged" || outcome === "history-lost") this.#reset(outcome);
    }
  }

  async #runStep(): Promise<StepOutcome | "live"> {
    const work = this.#work;
    const step = new DeliveryStep(this.#context, () => this.#work === work);
    if (work.do === "catch-up") return this.#catchUp(step);
    const outcome = await this.#send(step, work);
    if (!step.isCurrent()) return "abandoned";
    if (work.do === "send-move" && outcome === "done" && this.#behind === "nothing") this.#behind = "missed";
    if (typeof outcome === "object") {
      this.#after = outcome.after;
      this.#position = outcome.position;
    } else if (outcome !== "done") return outcome;
    this.#enter("catch-up", newCatchUpWork(holdOf(work)));
    return "done";
  }

  #send(step: DeliveryStep, work: Exclude<Work, { do: "catch-up" }>): Promise<Sent | StepOutcome> {
    if (work.do === "send-snapshot") return sendSnapshot(step, work);
    if (work.do === "send-move") return sendMove(step, work.move);
    return sendFromOplog(step, work.read);
  }

  /** Writes the entries of the log. When nothing is left, joins the live stream in that same turn. */
  async #catchUp(step: DeliveryStep): Promise<StepOutcome | "live"> {
    const { liveQuery, sink, account } = this.#context;
    const { timeline } = this.#context.parts;
    let encoded: EncodedEntry | undefined;
    let isMergedAgain = false;
    let hasRoom = false;
    while (step.isCurrent()) {
      // A live query may have recorded a commit that it has not delivered to its followers yet.
      if (!timeline.isSettled) {
        await timeline.settles;
        continue;
      }
      // A state that waits for the database may be older than the sent data. Changes that it finds up to that point are
      // contained in the data already.
      if (liveQuery.state.knownSeq < this.#after) {
        await liveQuery.state.reaches(this.#after);
        continue;
      }
      // A result that was read ahead of the stream records no changes before the stream has arrived there.
      const { loadedAt } = liveQuery.state;
      if (timeline.settledTime < loadedAt) {
        if (!(await step.streamReaches(loadedAt))) return "abandoned";
        continue;
      }
      const log = liveQuery.after(this.#after);
      if (log === undefined) {
        if (await extendLog(step, this.#after)) continue;
        return step.isCurrent() ? this.#continueFromOplog(step) : "abandoned";
      }
      // Rows are merged again only once before each write, or a client might receive none while they keep changing.
      if (encoded !== undefined && !isMergedAgain && this.#isOutdated(encoded, log)) {
        encoded = undefined;
        isMergedAgain = true;
      }
      const position = { after: this.#after, written: this.#written };
      const next = liveQuery.nextChunk(log, position, this.mode, encoded);
      if (next === "unknown") return "history-lost";
      if (next === "nothing") {
        this.#joinLive(log.at(-1));
        return "live";
      }
      if ("lacking" in next) {
        // Rows are merged when there is room for them, because later ones replace them until then.
        if (hasRoom || next.lacking.cursors === undefined)
          encoded = await liveQuery.encodeEntry(next.lacking, this.mode);
        else {
          // An ended connection has no room, and drops what is written to it.
          await sink.room(1);
          hasRoom = true;
        }
      } else if (!sink.write(next.chunk)) {
        // A slow consumer must not keep the history.
        holdOf(this.#work)?.();
        const endCharge = encoded && chargeWaiting(encoded, this.mode, account);
        if (endCharge === null) encoded = undefined;
        const isOpen = await sink.room(next.chunk.size);
        endCharge?.();
        if (!isOpen) return "abandoned";
        isMergedAgain = false;
        hasRoom = true;
      } else {
        isMergedAgain = false;
        this.#after = next.after;
        this.#written = next.written;
        this.#position = next.written === 0 ? timeline.history.positionAt(next.after) : null;
        if (encoded !== undefined && encoded.entry.seq <= next.after) encoded = undefined;
      }
    }
    return "abandoned";
  }

  /** Whether rows of an aggregate may have changed again since they were merged, and none of them was written. */
  #isOutdated({ entry }: EncodedEntry, log: readonly LogEntry[]): boolean {
    return entry.cursors !== undefined && this.#written === 0 && (log.at(-1)?.seq ?? 0) > entry.seq;
  }

  /** The history evicted the next commits while the missed ones were being sent. The oplog may still contain them. */
  async #continueFromOplog(step: DeliveryStep): Promise<StepOutcome> {
    const position = this.#position;
    // A slow consumer does not cause a read of the oplog: it would fall behind again, and cost a change stream.
    const mayRead = position !== null && this.#behind === "missed" && this.#oplogReads < OPLOG_READS_MAX;
    if (!mayRead) return "lost";
    this.#oplogReads++;
    const work = await step.untilAvailable(() => readFromOplog(this.#context, position, step.isCurrent));
    if (work === null || !step.isCurrent()) {
      if (work !== null && typeof work === "object") releaseWork(work);
      return "abandoned";
    }
    if (typeof work === "string") return "lost";
    this.#enter("send-oplog", work);
    return "done";
  }

  /** @param last The last entry of the log, if nothing of the log is left to send. */
  #joinLive(last: LogEntry | undefined): void {
    if (last !== undefined) this.skipTo(last);
    const afterCatchUp = this.#behind !== "nothing";
    // No `await` may be between the check that nothing is left and this line. A commit in between would be lost.
    this.#after = this.liveQuery.state.knownSeq;
    this.#behind = "nothing";
    this.#oplogReads = 0;
    this.#resets?.becameLive();
    this.#position = null;
    this.#phase = DELIVERY_TRANSITIONS[this.#phase]["caught-up"];
    releaseWork(this.#work);
    this.liveQuery.broadcast.join(this);
    this.#sink.becameLive(afterCatchUp);
  }

  /** Voids the state that the client has. The client is informed before the next step. */
  #reset(reason: ResetReason): void {
    if (this.#phase === "closed") return;
    const { parts, liveQuery } = this.#context;
    const [from, step, behind] = [this.#phase, this.#work.do, this.#behind];
    parts.log.debug({ collection: liveQuery.namespace, reason, from, step, behind }, "a delivery is reset");
    this.#resets ??= new Resets();
    this.#resets.note(reason);
    this.#enter("void", newCatchUpWork());
    const work = this.#context.wantsSnapshot ? newSnapshotWork(null) : newCatchUpWork();
    this.#enter(work.do, work);
  }

  async #announceReset(resets: Resets): Promise<void> {
    const work = this.#work;
    if (!(await resets.announce(this.#sink, () => this.#work === work))) return;
    // The reset voids the missed changes as well, so the next step begins at the head.
    this.#after = this.#context.parts.timeline.headSeq;
    this.#position = null;
  }

  /** Releases the resources of the current step, and takes another one. */
  #enter(event: DeliveryEvent, work: Work): void {
    if (this.#work !== work) releaseWork(this.#work, work);
    // First, because a delivery that is not live reads the log, and a flush would write the same change a second time.
    if (this.#phase === "live") this.liveQuery.broadcast.followers.delete(this);
    this.#phase = DELIVERY_TRANSITIONS[this.#phase][event];
    this.#work = work;
    this.#written = 0;
    if (this.#phase === "closed") releaseWork(work);
  }
}
