import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Start, StartReason, ValueMode } from "../protocol/messages.ts";
import type { Account } from "./account.ts";
import { toChunks } from "./catch-up-chunks.ts";
import type { CatchUps } from "./catch-ups.ts";
import { UNKNOWN } from "./change.ts";
import type { Chunk, EncodedMessage } from "./chunk.ts";
import type { ClientCursors } from "./client-cursors.ts";
import type { Position } from "./cursor.ts";
import type { Follower } from "./follower.ts";
import type { GrantMove, GrantPoint } from "./grant-diff.ts";
import type { GrantDiffs } from "./grant-diffs.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { OplogRead } from "./oplog-read.ts";
import type { WindowAdmission } from "./reading-charge.ts";
import type { Rights } from "./rights.ts";
import type { SnapshotReading } from "./snapshot-reading.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import type { Timeline } from "./timeline.ts";

/** Where a delivery goes: one connection's outbox. */
export interface Sink {
  readonly mode: ValueMode;
  /** Takes a chunk; `false`, and nothing taken, where there is no room for it. */
  write(chunk: Chunk): boolean;
  /** Settles when there is room for `size`, or nothing waits at all; `false` when the connection has ended. */
  room(size: number): Promise<boolean>;
  /** Settles when it is this delivery's turn to hold a snapshot; give the turn back by what is returned. */
  snapshotTurn(): Promise<() => void>;
  /**
   * Whether the client may be sent data of a cluster time that the stream has not come to yet, by which its token may be
   * revoked. `false` also where only the stream can tell.
   */
  mayRead(clusterTime: bigint): Promise<boolean>;
  /** What the client holds for the live query is void. */
  reset(reason: "history-lost" | "lagged"): void;
  /** From now on everything is written as it comes. @param afterCatchUp Missed changes were sent before. */
  becameLive(afterCatchUp: boolean): void;
  /** The delivery has ended by itself: the subscription can not be kept up. Never throws. */
  failed(error: unknown): void;
}

/** How a subscription asks to start; a cursor is one whose ticket has been checked. */
export interface StartRequest {
  readonly snapshot: boolean;
  readonly resumeFrom: Position | null;
  /** The cursor that was given, by which the client knows the position; where there is none, that of the position. */
  readonly cursor?: string;
  /**
   * The live query whose state the client holds, where `%%now` has taken a step since: what became of that state meanwhile is
   * sent as one difference.
   */
  readonly heldQuery?: LiveQuerySpec;
  /** Why a cursor that was given cannot be used, where that is known beforehand. */
  readonly refused: StartReason | null;
}

/** The parts that all deliveries share. */
export interface DeliveryParts {
  readonly timeline: Timeline;
  readonly cursors: ClientCursors;
  readonly snapshots: Pick<SnapshotStore, "open">;
  readonly windows: WindowAdmission;
  readonly grants: GrantDiffs;
  readonly catchUps: CatchUps;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** The terms of one subscription. */
export interface DeliveryTerms {
  readonly wantsSnapshot: boolean;
  readonly rights: Rights;
  /** The user to whom the live query is charged. */
  readonly account: Account;
}

export interface Started {
  readonly start: Start;
  readonly reason: StartReason | undefined;
  /** The cursor to tell for the position of the start. */
  readonly cursor: string;
  /** That position itself. */
  readonly since: Position;
  /**
   * Where a difference follows: the cursor with which it ends. The ticket begins there, and `cursor` is of before: nobody
   * resumes inside the difference.
   */
  readonly finally?: string;
}

/** How long a slow consumer may hold one of the few extra change streams, in milliseconds. */
const OPLOG_ROOM_TIMEOUT_MS = 5_000;
const RETRY_MS = 1_000;

type ResetReason = "history-lost" | "lagged";

interface HeldSnapshot {
  readonly reading: SnapshotReading;
  readonly leave: () => void;
}

/** What has to be done next before the delivery is live. */
type Step =
  | { readonly do: "snapshot"; readonly opened: HeldSnapshot | null }
  | { readonly do: "read-oplog"; readonly read: OplogRead }
  | { readonly do: "move"; readonly move: GrantMove }
  | { readonly do: "catch-up" };

/** How a step ended: `done`, given up because something else was decided meanwhile, or in need of a reset. */
type Outcome = "done" | "abandoned" | ResetReason;

/**
 * Brings one live query to one connection: a snapshot or the missed changes first, then what comes. This is
 * the seam between "what was" and "what happens", and the only one: a slow consumer, a resumption and a fresh
 * subscription all come to the live stream through `#catchUp`, which joins it in the same turn in which it
 * finds nothing more to read. So there is no gap and no overlap.
 */
export class Delivery implements Follower {
  readonly liveQuery: LiveQuery;
  /** The user to whom the live query is charged. */
  readonly account: Account;
  readonly #sink: Sink;
  readonly #parts: DeliveryParts;
  readonly #timeline: Timeline;
  readonly #wantsSnapshot: boolean;
  readonly #rights: Rights;
  #step: Step = { do: "catch-up" };
  /** Everything up to this entry of the history has been written … */
  #after = 0;
  /** … and so many messages of the one after it. */
  #written = 0;
  /** Grows when whatever is going on has become pointless. */
  #generation = 0;
  #slow = false;
  /** Missed changes are being made up for, not a snapshot sent. */
  #missed = false;
  #live = false;
  #closed = false;
  #running = false;
  #begun = false;
  /** What `open` decided was void before `run`. */
  #voided = false;

  constructor(
    parts: DeliveryParts,
    liveQuery: LiveQuery,
    sink: Sink,
    { wantsSnapshot, rights, account }: DeliveryTerms,
  ) {
    this.#parts = parts;
    this.#timeline = parts.timeline;
    this.liveQuery = liveQuery;
    this.account = account;
    this.#sink = sink;
    this.#wantsSnapshot = wantsSnapshot;
    this.#rights = rights;
  }

  get mode(): ValueMode {
    return this.#sink.mode;
  }

  /** Up to date: what comes is written as it comes. */
  get isLive(): boolean {
    return this.#live && this.liveQuery.state.isCurrent;
  }

  /**
   * Decides how the subscription starts and does whatever can fail; nothing is written before `run`.
   * @throws {TidewireError} `snapshot-too-large`, `unavailable`
   */
  async open(request: StartRequest): Promise<Started> {
    if (request.refused !== null) return this.#openFresh("reset", request.refused);
    if (request.resumeFrom === null)
      return this.#openFresh(this.#wantsSnapshot ? "snapshot" : "live", undefined);
    const { resumeFrom, cursor = this.#timeline.codec.encode(resumeFrom) } = request;
    const resumed = await this.#openResumed(resumeFrom, cursor, request.heldQuery);
    return typeof resumed === "string" ? this.#openFresh("reset", resumed) : resumed;
  }

  /** As `open`, for a subscription that stands already: at once, what may fail comes after and is tried again. */
  openAnew(reason: StartReason): Started {
    this.#abandonStep(this.#wantsSnapshot ? { do: "snapshot", opened: null } : { do: "catch-up" });
    if (!this.#wantsSnapshot) return this.#openChanges("reset", reason);
    this.#after = this.#timeline.headSeq;
    return this.#atHead("reset", reason);
  }

  /**
   * As `openAnew`, for one whose client holds the state of another live query, delivered up to this very point:
   * only the difference is sent.
   */
  openMoved(from: LiveQuery, at: GrantPoint): Started {
    this.#after = at.seq;
    this.#step = { do: "move", move: { from, to: this.liveQuery, at, held: from.state.places ?? [] } };
    // A point before the change of rights: nobody resumes between this and the end of the difference.
    return { start: "moved", reason: undefined, ...this.#around(at) };
  }

  #around(at: GrantPoint): Omit<Started, "start" | "reason"> {
    return { cursor: at.told.before, since: this.#parts.cursors.positionAfter(at), finally: at.told.after };
  }

  /** Before a snapshot that is still to be read, whose own cursor is good only at its end. */
  #atHead(start: Start, reason: StartReason | undefined): Started {
    return { start, reason, cursor: this.#parts.cursors.told.cursor, since: this.#timeline.head };
  }

  #openChanges(start: Start, reason: StartReason | undefined): Started {
    const { cursor, position, seq } = this.#parts.cursors.startOfChanges(this.liveQuery, this.#rights.since);
    this.#after = seq;
    return { start, reason, cursor, since: position };
  }

  /** Begins to write; call it once what `open` told has been written. */
  run(): void {
    if (this.#running || this.#closed || this.#live) return;
    this.#begun = true;
    this.#running = true;
    if (this.#voided) this.#reset("history-lost");
    this.#voided = false;
    this.#bringLive().catch((error: unknown) => this.fail(error));
  }

  fail(error: unknown): void {
    if (!this.#closed) this.#sink.failed(error);
  }

  close(): void {
    this.#closed = true;
    this.#live = false;
    this.liveQuery.followers.delete(this);
    this.#abandonStep({ do: "catch-up" });
  }

  deliver(chunk: Chunk, seq: number): void {
    if (this.#sink.write(chunk)) {
      this.#after = seq;
      return;
    }
    // The consumer is slow: nothing more is kept for it, it goes on from here when it has drained.
    this.#parts.metrics.lagged.inc();
    this.#slow = true;
    this.#missed = true;
    this.#leaveLive();
    this.run();
  }

  startOver(): void {
    // Nothing may be written before the client knows of the subscription.
    if (!this.#begun) {
      this.#voided = true;
      return;
    }
    this.#leaveLive();
    this.#reset("history-lost");
    this.run();
  }

  async #openResumed(
    position: Position,
    cursor: string,
    heldQuery: LiveQuerySpec | undefined,
  ): Promise<Started | StartReason> {
    const started: Started = { start: "resumed", reason: undefined, cursor, since: position };
    const located = await this.#timeline.locate(position);
    if (located === "ahead") return "cursor-invalid";
    if (position.clusterTime < this.#rights.grantedAt) return "rights-changed";
    this.#missed = true;
    if (located !== "too-old" && this.#timeline.history.holds(this.liveQuery.namespace, located.seq)) {
      if (!this.#hadRightsSince(position, located.seq)) return "rights-changed";
      this.#parts.catchUps.noteFromHistory();
      if (heldQuery !== undefined) return await this.#openByDifference(heldQuery, located.seq);
      this.#after = located.seq;
      return started;
    }
    if (heldQuery !== undefined) return "history-lost";
    // A window's past can only be read as long as the server keeps it, which is as long as the history.
    if (!this.liveQuery.state.isStateless) return "history-lost";
    const { start: begin, evictedSeq } = this.#timeline.history;
    if (!this.#hadRightsSince(begin, evictedSeq)) return "rights-changed";
    const read = await this.#parts.catchUps.openOplog(position);
    if (read === null) return "history-lost";
    if (this.#closed) read.end();
    this.#step = { do: "read-oplog", read };
    return started;
  }

  /**
   * The client holds what another live query was at entry `seq`. It receives what became of that, and nothing of how:
   * in between it may have had other rights than now.
   */
  async #openByDifference(heldQuery: LiveQuerySpec, seq: number): Promise<Started | StartReason> {
    while (!this.#timeline.isSettled) await this.#timeline.settles;
    const move = this.#parts.grants.moveSince(heldQuery, this.liveQuery, seq, this.#wantsSnapshot);
    if (move === null) return "history-lost";
    this.#after = move.at.seq;
    this.#step = { do: "move", move };
    return { start: "resumed", reason: undefined, ...this.#around(move.at) };
  }

  /** Who was shut out in between must not be told now what happened meanwhile. */
  #hadRightsSince(position: Position, seq: number): boolean {
    return this.#rights.traceBack(position, seq, this.#timeline.history);
  }

  async #openFresh(start: Start, reason: StartReason | undefined): Promise<Started> {
    if (!this.#wantsSnapshot) return this.#openChanges(start, reason);
    const opened = await this.#openSnapshot(() => !this.#closed);
    if (opened === null) return this.#atHead(start, reason); // nobody is there to be told
    if (this.#closed) opened.leave();
    else this.#step = { do: "snapshot", opened };
    const { cursor, position } = opened.reading;
    return { start, reason, cursor, since: position };
  }

  /** Opens a snapshot when it is its turn: one who reads slowly must not make many be held, nor MongoDB's cursors. */
  async #openSnapshot(isWanted: () => boolean): Promise<HeldSnapshot | null> {
    const giveBack = await this.#sink.snapshotTurn();
    if (!isWanted()) {
      giveBack();
      return null;
    }
    let held: HeldSnapshot | null = null;
    try {
      const { snapshots, windows } = this.#parts;
      const charge = () => windows.chargeReading(this.account);
      const reading = await snapshots.open(this.liveQuery, this.mode, this.#rights.since, charge);
      const leave = () => {
        reading.leave();
        giveBack();
      };
      held = { reading, leave };
      windows.admitWindow(this.liveQuery, this.account);
      return held;
    } catch (error) {
      if (held === null) giveBack();
      else held.leave();
      throw error;
    }
  }

  /** Runs the steps until the delivery is live, or closed. */
  async #bringLive(): Promise<void> {
    // Never in the turn of a flush: the followers must not change while they are being served.
    await null;
    try {
      while (!this.#closed && !this.#live) {
        const outcome = await this.#runStep();
        if (outcome !== "done" && outcome !== "abandoned") this.#reset(outcome);
      }
    } finally {
      this.#running = false;
    }
  }

  #runStep(): Promise<Outcome> {
    const generation = this.#generation;
    const isCurrent = () => !this.#closed && generation === this.#generation;
    const step = this.#step;
    if (step.do === "snapshot") return this.#sendSnapshot(step.opened, isCurrent);
    if (step.do === "move") return this.#sendGrantDiff(step.move, isCurrent);
    if (step.do === "read-oplog") return this.#sendFromOplog(step.read, isCurrent);
    return this.#catchUp(isCurrent);
  }

  async #sendSnapshot(openedBefore: HeldSnapshot | null, isCurrent: () => boolean): Promise<Outcome> {
    const opened = openedBefore ?? (await this.#openAgain(isCurrent));
    if (opened === null) return "abandoned";
    if (openedBefore === null) {
      if (!isCurrent()) {
        opened.leave();
        return "abandoned";
      }
      this.#step = { do: "snapshot", opened };
    }
    const { reading } = opened;
    if (!(await this.#mayShow(reading.clusterTime, isCurrent))) return "abandoned";
    for (let index = 0; ; index++) {
      const batch = await reading.batch(index).catch((error: unknown) => {
        if (error instanceof TidewireError) throw error;
        this.#parts.log.warn({ err: error }, "a snapshot could not be read to its end; it will be read anew");
        return "failed" as const;
      });
      if (!isCurrent()) return "abandoned";
      if (batch === "overtaken") return "lagged";
      if (batch === "failed") return "history-lost";
      if (batch === null) break;
      if (!(await this.#write(batch, isCurrent))) return "abandoned";
    }
    // What comes before the time of the snapshot is in it already.
    if (!(await this.#streamReaches(reading.clusterTime, isCurrent))) return "abandoned";
    const seq = this.#timeline.history.seqAt(reading.clusterTime);
    if (seq === null) return this.#lost();
    this.#after = seq;
    this.#abandonStep({ do: "catch-up" });
    return "done";
  }

  /**
   * Waits until data of a cluster time may be sent. Where the stream has not come to that time yet, rights that depend on
   * other documents, or the token, may have been withdrawn by then. `false` where waiting has become pointless.
   */
  async #mayShow(clusterTime: bigint, isCurrent: () => boolean): Promise<boolean> {
    if (this.#timeline.settledTime >= clusterTime) return true;
    if (!this.#rights.isConditional && (await this.#sink.mayRead(clusterTime))) return isCurrent();
    return this.#streamReaches(clusterTime, isCurrent);
  }

  /** Waits until the stream has come to a cluster time; `false` where that has become pointless meanwhile. */
  async #streamReaches(clusterTime: bigint, isCurrent: () => boolean): Promise<boolean> {
    while (isCurrent() && this.#timeline.settledTime < clusterTime) await this.#timeline.advances.next();
    return isCurrent();
  }

  /** Sends what a change of rights brought into sight and what it took away. */
  async #sendGrantDiff(move: GrantMove, isCurrent: () => boolean): Promise<Outcome> {
    const giveBack = await this.#sink.snapshotTurn();
    try {
      if (!isCurrent()) return "abandoned";
      const changes = await this.#parts.grants.read(move);
      if (!isCurrent()) return "abandoned";
      if (changes === null) return "history-lost";
      const { after: last, before: others } = move.at.told;
      const cursors = { last, others };
      // A client may hold a later state than the one that the difference is from, and a delta would not fit that.
      const documents = move.missed === undefined ? undefined : "full";
      for (const chunk of this.liveQuery.grantChunks(changes, cursors, this.mode, documents)) {
        if (!(await this.#write(chunk, isCurrent)) || !isCurrent()) return "abandoned";
      }
    } finally {
      giveBack();
    }
    this.#missed = true;
    this.#abandonStep({ do: "catch-up" });
    return "done";
  }

  /** Opens a snapshot after a reset, as often as it takes: the subscription stands, and MongoDB will come back. */
  #openAgain(isCurrent: () => boolean): Promise<HeldSnapshot | null> {
    return untilAvailable(isCurrent, () => this.#openSnapshot(isCurrent));
  }

  /** Sends what was missed before the history begins, and ends where the history takes over. */
  async #sendFromOplog(read: OplogRead, isCurrent: () => boolean): Promise<Outcome> {
    // Whatever became of MongoDB meanwhile, the subscription stands: it goes on with a snapshot, which waits for it.
    const outcome = await this.#copyFromOplog(read, isCurrent).catch((error: unknown) => {
      this.#parts.catchUps.noteFailed(error);
      return "history-lost" as const;
    });
    return isCurrent() ? this.#endRead(read, outcome) : "abandoned";
  }

  async #copyFromOplog(read: OplogRead, isCurrent: () => boolean): Promise<Outcome> {
    const { liveQuery } = this;
    for await (const { batch, covered } of read.batches()) {
      if (!isCurrent()) return "abandoned";
      const fresh = batch.entries.slice(covered);
      if (fresh.some(({ commit }) => this.#rights.mayChangeBy(commit.events))) return "history-lost";
      const encoded = await liveQuery.encodeOplogBatch(batch, this.mode);
      if (!isCurrent()) return "abandoned";
      const missed = encoded.filter(({ index }) => index >= covered);
      const messages: EncodedMessage[] = [];
      for (const { messages: more } of missed) {
        if (more === UNKNOWN) return "history-lost";
        messages.push(...more);
      }
      const last = fresh.at(-1)?.commit.clusterTime;
      if (last !== undefined && !(await this.#mayShow(last, isCurrent))) return "abandoned";
      for (const chunk of toChunks(messages)) {
        const written = await this.#write(chunk, isCurrent, OPLOG_ROOM_TIMEOUT_MS);
        if (!isCurrent()) return "abandoned";
        if (!written) return "lagged";
      }
      const located = await untilAvailable(isCurrent, () => this.#timeline.locate(batch.until));
      if (located === null || !isCurrent()) return "abandoned";
      if (typeof located === "string" || !this.#timeline.history.holds(liveQuery.namespace, located.seq))
        continue;
      this.#after = located.seq;
      return "done";
    }
    return "history-lost";
  }

  #endRead(read: OplogRead, outcome: Outcome): Outcome {
    read.end();
    this.#step = { do: "catch-up" };
    return outcome;
  }

  /** Writes what the log holds and, when nothing is left to write, joins the live stream in that same turn. */
  async #catchUp(isCurrent: () => boolean): Promise<Outcome> {
    while (isCurrent()) {
      // A live query may have noted a commit that it has not handed to its followers yet.
      if (!this.#timeline.isSettled) {
        await this.#timeline.settles;
        continue;
      }
      // A window that waits for the database may be behind what was sent: what it comes to tell then is in that already.
      if (this.liveQuery.state.knownSeq < this.#after) {
        await this.liveQuery.state.reaches(this.#after);
        continue;
      }
      const log = this.liveQuery.after(this.#after);
      if (log === undefined) {
        if (await this.liveQuery.extend(this.#after)) continue;
        return isCurrent() ? this.#lost() : "abandoned";
      }
      const next = this.liveQuery.nextChunk(log, { after: this.#after, written: this.#written }, this.mode);
      if (next === "unknown") return "history-lost";
      if (next === "nothing") {
        this.#joinLive();
        return "done";
      }
      if (!this.#sink.write(next.chunk)) {
        if (!(await this.#sink.room(next.chunk.size))) return "abandoned";
      } else {
        this.#after = next.after;
        this.#written = next.written;
      }
    }
    return "abandoned";
  }

  #lost(): ResetReason {
    return this.#slow ? "lagged" : "history-lost";
  }

  /**
   * Writes, waiting for room; `false` when the connection has ended, `timeoutMs` has passed, or the step has
   * become pointless meanwhile: what nobody may see any more must not be written when there is room at last.
   */
  async #write(
    chunk: Chunk,
    isCurrent: () => boolean,
    timeoutMs = Number.POSITIVE_INFINITY,
  ): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    while (!this.#sink.write(chunk)) {
      if (!(await this.#sink.room(chunk.size)) || Date.now() > deadline || !isCurrent()) return false;
    }
    return true;
  }

  #reset(reason: ResetReason): void {
    if (this.#closed) return;
    this.#sink.reset(reason);
    this.#after = this.#timeline.headSeq;
    this.#abandonStep(this.#wantsSnapshot ? { do: "snapshot", opened: null } : { do: "catch-up" });
  }

  /** Lets go of what the step at hand holds, and takes another. */
  #abandonStep(next: Step): void {
    if (this.#step.do === "snapshot") this.#step.opened?.leave();
    if (this.#step.do === "read-oplog") this.#step.read.end();
    this.#generation++;
    this.#written = 0;
    this.#step = next;
  }

  #joinLive(): void {
    this.#after = this.liveQuery.state.knownSeq;
    this.#slow = false;
    this.#live = true;
    this.liveQuery.followers.add(this);
    this.#sink.becameLive(this.#missed);
    this.#missed = false;
  }

  #leaveLive(): void {
    if (this.#live) this.#abandonStep({ do: "catch-up" });
    this.#live = false;
    this.liveQuery.followers.delete(this);
  }
}

/** Tries again while MongoDB does not answer; `null` where that has become pointless meanwhile. */
async function untilAvailable<T>(isCurrent: () => boolean, ask: () => Promise<T>): Promise<T | null> {
  while (isCurrent()) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof TidewireError) || error.code !== "unavailable") throw error;
      await sleep((error.retryAfterMs ?? RETRY_MS) * (0.5 + Math.random()));
    }
  }
  return null;
}
