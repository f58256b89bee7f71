import type { Logger } from "pino";
import { valueKey } from "../match/value-key.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { Commit } from "../source/change-event.ts";
import type { CommitSink } from "../source/change-source.ts";
import { clusterTimeOf } from "../source/cluster-time.ts";
import type { Deployment } from "../source/deployment.ts";
import type { Epoch } from "../source/epoch-store.ts";
import { isMongoFailure, type MongoAccess } from "../source/mongo.ts";
import type { CommitBatch } from "../source/read-commits.ts";
import { StreamStalledError } from "../source/stream-errors.ts";
import type { Account } from "./account.ts";
import { type Change, DocumentEncoder, idOf } from "./change.ts";
import { EncodedBudget } from "./change-log.ts";
import { CommitGate } from "./commit-gate.ts";
import { AFTER, CursorCodec, type DecodedCursor, type Position, type Told } from "./cursor.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { Delivery, type DeliveryTerms, type Sink } from "./delivery.ts";
import type { StateFollower } from "./followed-collection.ts";
import { type GrantMove, type GrantPoint, readGrantDiff } from "./grant-diff.ts";
import { type HeadMark, History, type HistoryEntry, type Located } from "./history.ts";
import { Limiter } from "./limiter.ts";
import { LiveQueries, type LiveQueriesParts } from "./live-queries.ts";
import type { LiveQuery, LiveQuerySpec } from "./live-query.ts";
import { LogBudget } from "./log-budget.ts";
import type { LookupSet } from "./lookup-set.ts";
import { Lookups } from "./lookups.ts";
import { type OplogRead, OplogReads } from "./oplog-read.ts";
import type { FeedLimits, HistoryOptions } from "./options.ts";
import { type SliceClock, Slices } from "./slices.ts";
import { SnapshotStore } from "./snapshot-store.ts";
import { ToldHead } from "./told-head.ts";
import type { ReadingCharge } from "./window-budget.ts";

export interface FeedParts {
  readonly client: MongoAccess;
  readonly deployment: Deployment;
  /** Commits from a cluster time on, that time included, out of the oplog. */
  readonly readOplog: (from: bigint, signal: AbortSignal) => AsyncGenerator<CommitBatch, void, void>;
  /** The age that the position of an idle stream reaches before it moves on, in milliseconds. */
  readonly idleAgeMs: number;
  /** MongoDB's clock, in epoch milliseconds. Default: this machine's. */
  readonly serverNowMs?: () => number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Of the system unless a test has one of its own. */
  readonly sliceClock?: SliceClock;
}

/** A point from which on changes are sent, and how clients know it. */
interface ChangesStart extends Told {
  readonly seq: number;
  /** From then on there is a newer one, in epoch milliseconds. */
  readonly untilMs: number;
}

/** With more commits missed than this, a result is read again rather than told by its difference. */
const MISSED_COMMITS_MAX = 10_000;
const SWEEP_INTERVAL_MS = 1_000;
/** How long a position that exists, but that this node has not come to yet, is waited for. */
const REACH_TIMEOUT_MS = 10_000;

/**
 * The order of changes and everyone who follows it. Takes each commit once, gives it its place in the history,
 * and lets every live query of its collections turn it into changes.
 */
export class Feed implements CommitSink {
  readonly lookups: Lookups;
  /** Called when a batch has been handed to everyone who follows. */
  onHandedOut: () => void = () => {};
  readonly #limits: FeedLimits;
  readonly #parts: FeedParts;
  readonly #metrics: Metrics;
  readonly #encoder: DocumentEncoder;
  readonly #budget: EncodedBudget;
  readonly #logBudget: LogBudget;
  readonly #historyOptions: HistoryOptions;
  readonly #oplogReads: OplogReads;
  readonly #snapshots: SnapshotStore;
  readonly #gate = new CommitGate();
  readonly #slices: Slices;
  readonly #liveQueries: LiveQueries;
  #sweepIsDue = false;
  /** The head before the batch that is being handed out. */
  #settledHead: HeadMark | undefined;
  /** Collections that were added while running, by the entry since which they are followed. */
  readonly #followedFrom = new Map<string, number>();
  /** Differences of a change of rights that are being read. */
  readonly #grantDiffs = new Map<string, Promise<Change[] | null>>();
  /** Of the service's own collections, by namespace. */
  readonly #stateFollowers = new Map<string, StateFollower>();
  readonly #sweeper: NodeJS.Timeout;
  #codec: CursorCodec | undefined;
  #history: History | undefined;
  #advance = deferred();
  readonly #waiters = new Set<Deferred & { isDone: () => boolean }>();
  readonly #toldHead: ToldHead;
  readonly #serverNowMs: () => number;
  /** Told last: most ask within the same step. */
  #told: ChangesStart | undefined;
  /** The point at the head at which rights changed last. */
  #headPoint: (GrantPoint & { readonly untilMs: number }) | undefined;
  readonly #changesStarts = new WeakMap<LiveQuery, ChangesStart>();

  constructor(history: HistoryOptions, limits: FeedLimits, parts: FeedParts) {
    this.#historyOptions = history;
    this.#limits = limits;
    this.#parts = parts;
    this.#metrics = parts.metrics;
    this.#serverNowMs = parts.serverNowMs ?? Date.now;
    this.#toldHead = new ToldHead(history.cursorStepMs, parts.idleAgeMs);
    this.#encoder = new DocumentEncoder(limits.encodeCacheBytes);
    this.#budget = new EncodedBudget(history.bytes);
    this.#logBudget = new LogBudget(history.bytes);
    this.#oplogReads = new OplogReads(parts.readOplog, new Limiter(limits.catchUpStreams), (held) =>
      parts.metrics.catchUpStreams.set(held),
    );
    this.#snapshots = new SnapshotStore(limits, { ...parts, gate: this.#gate }, this);
    this.lookups = new Lookups(limits, parts, this);
    this.#slices = new Slices(limits.commitSliceMs, parts.sliceClock);
    const { lookups } = this;
    this.#liveQueries = new LiveQueries(limits, {
      ...parts,
      lookups,
      slices: this.#slices,
      isOwn: (namespace) => this.#stateFollowers.has(namespace),
      onHandedOut: () => this.onHandedOut(),
      partsOf: () => this.#liveQueryParts(),
      onRemoved: (liveQuery) => this.#snapshots.drop(liveQuery),
      settled: async () => {
        do await this.settles;
        while (!this.isSettled);
      },
    });
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#sweeper);
  }

  /** To be called before the stream begins; the source has to watch the namespace. */
  followState(follower: StateFollower): void {
    this.#stateFollowers.set(follower.namespace, follower);
  }

  lost(): void {
    for (const follower of this.#stateFollowers.values()) follower.lose();
  }

  async prepare(clusterTime: bigint): Promise<void> {
    for (const follower of this.#stateFollowers.values()) await follower.prepare(clusterTime);
  }

  async begin(epoch: Epoch, from: bigint): Promise<void> {
    await this.#closed((slices) => {
      this.#codec = new CursorCodec(epoch);
      if (this.#history === undefined) {
        this.#history = new History(this.#historyOptions, this.#metrics, this.#codec, from);
      } else this.#history.begin(this.#codec, from);
      this.#settledHead = undefined;
      this.#told = undefined;
      this.#headPoint = undefined;
      this.#snapshots.clear();
      this.#liveQueries.forgetAll();
      this.lookups.loseAll();
      return slices.run(this.#liveQueries.startOverAll());
    });
    this.#wake();
  }

  /** Takes a batch of commits. Settles when it has been handed to every live query; the next one must wait for that. */
  async accept(batch: CommitBatch): Promise<void> {
    const endTimer = batch.commits.length > 0 ? this.#metrics.acceptTime.startTimer() : undefined;
    const rest = this.#closed((slices) => slices.run(this.#handOut(batch)));
    // In the usual case all was done in this turn, and nobody has seen the gate closed.
    if (rest !== undefined) await rest;
    if (this.#sweepIsDue) this.#sweep();
    this.#wake();
    endTimer?.();
    const wallTimeMs = batch.commits.at(-1)?.wallTimeMs ?? null;
    if (wallTimeMs !== null) this.#metrics.deliveryLag.observe(Math.max(0, Date.now() - wallTimeMs) / 1_000);
  }

  *#handOut(batch: CommitBatch): Generator<void, void> {
    const history = this.#readyHistory();
    for (const commit of batch.commits) {
      const entry = history.append(commit);
      yield* this.#applyState(commit);
      yield* this.#liveQueries.dispatch.apply(entry);
    }
    yield* this.#liveQueries.dispatch.flush();
    history.advance(batch.through);
    this.#logBudget.trim(history.headSeq);
    this.#encoder.forget();
  }

  /** Documents of the service's own take effect before anything else is made of their commit. */
  *#applyState(commit: Commit): Generator<void, void> {
    if (commit.events.some(({ namespace }) => this.#stateFollowers.has(namespace)))
      yield* this.#liveQueries.dispatch.flush();
    for (const follower of this.#stateFollowers.values()) follower.apply(commit, () => {});
  }

  #closed(work: (slices: Slices) => Promise<void> | undefined): Promise<void> | undefined {
    return this.#gate.handOut(() => {
      this.#settledHead = this.#history?.headMark;
      return work(this.#slices);
    });
  }

  /** Runs work between two batches of commits. No commit is handed out while it pauses by the slices that it is given. */
  async exclusively(work: (slices: Slices) => Promise<void> | undefined): Promise<void> {
    await this.#gate.exclusively(() => work(this.#slices));
  }

  /** Every live query has come to the head. Not so while a batch is being handed out, which may yield. */
  get isSettled(): boolean {
    return this.#gate.isOpen;
  }

  /** Settles when `isSettled` may be true; look again then. */
  get settles(): Promise<void> {
    return this.#gate.opens;
  }

  /** Whether positions and cursors exist already: the stream has found its start. */
  get isReady(): boolean {
    return this.#history !== undefined;
  }

  get headSeq(): number {
    return this.#readyHistory().headSeq;
  }

  get headTime(): bigint {
    return this.#readyHistory().headTime;
  }

  /**
   * Every commit up to this cluster time has taken effect, and so has what it withdraws. While a batch is being handed out
   * this is the head before it: `headTime` is already that of a commit of which the lookups may not know.
   */
  get settledTime(): bigint {
    return (this.isSettled ? undefined : this.#settledHead?.time) ?? this.headTime;
  }

  /** The cluster time that begins at a point of the clock, or that of the head where the point is later. */
  headTimeBy(epochMs: number): bigint {
    const time = clusterTimeOf(Math.max(0, Math.ceil(epochMs / 1_000)), 0);
    return time < this.headTime ? time : this.headTime;
  }

  /** Number of the last commit whose cluster time is at most `clusterTime`; `null` where later ones are gone already. */
  seqAt(clusterTime: bigint): number | null {
    return this.#readyHistory().seqAt(clusterTime);
  }

  /** Where the stream is now. */
  get head(): Position {
    return this.#readyHistory().head;
  }

  get headCursor(): string {
    return this.encode(this.head);
  }

  /**
   * What clients are told in place of the head: for the length of a step the same hidden cursor. All live queries have
   * handed out everything up to there.
   */
  get told(): ChangesStart {
    const mark = this.isSettled ? undefined : this.#settledHead;
    const history = this.#readyHistory();
    const head = mark === undefined ? history.head : history.positionOf(mark);
    const seq = mark === undefined ? history.headSeq : (mark.last?.seq ?? 0);
    if (this.tellsExactly) return { position: head, cursor: this.encode(head), seq, untilMs: 0 };
    const nowMs = this.#serverNowMs();
    if (this.#told === undefined || nowMs >= this.#told.untilMs)
      this.#told = { ...this.#hide(head, nowMs), seq };
    return this.#told;
  }

  /** Lets all be told of the head as it is now, and not only from the next step on. */
  renewTold(): Told {
    this.#told = undefined;
    return this.told;
  }

  /** A hidden cursor of its own for a position. */
  hide(position: Position): Told {
    return this.#hide(position, this.#serverNowMs());
  }

  #hide(position: Position, issuedMs: number): Told & { readonly untilMs: number } {
    const cursor = this.#readyCodec().encodeHidden(position, issuedMs);
    const untilMs = this.#toldHead.stepEndsAtMs(issuedMs);
    return { position: { ...position, issuedMs }, cursor, untilMs };
  }

  #hasTold(clusterTime: bigint): boolean {
    if (this.#toldHead.isExact) return this.isSettled && this.headTime >= clusterTime;
    const { from } = this.#readyHistory();
    const headTime = this.isSettled ? this.headTime : (this.#settledHead?.time ?? from);
    return this.#toldHead.at(this.#serverNowMs(), { headTime, from }) > clusterTime;
  }

  /** Whether clients are told the head itself. */
  get tellsExactly(): boolean {
    return this.#toldHead.isExact;
  }

  encode(position: Position): string {
    return this.#readyCodec().encode(position);
  }

  decode(cursor: string): DecodedCursor {
    return this.#readyCodec().decode(cursor);
  }

  /** The codec of the epoch in force. */
  get codec(): CursorCodec {
    return this.#readyCodec();
  }

  /** @throws {TidewireError} `too-many-subscriptions` where a user may not follow one more live query. */
  admit(spec: Pick<LiveQuerySpec, "key" | "filter" | "sort">, account: Account): void {
    this.#liveQueries.admit(spec, account);
  }

  /** @throws {TidewireError} `too-many-subscriptions` where there is no room for the window that was just loaded. */
  admitWindow(liveQuery: LiveQuery, account: Account): void {
    this.#liveQueries.admitWindow(liveQuery, account);
  }

  /** For a sorted result that is read on behalf of a user. */
  chargeReading(account: Account): ReadingCharge {
    return this.#liveQueries.chargeReading(account);
  }

  /**
   * Joins a sink to the live query of this specification, which is made if there is none yet. Nothing happens
   * before `open` and `run` of the delivery; it ends by `unsubscribe`. No limit is checked here (see `admit`): rights
   * that change move a subscription to another live query, whatever its user holds.
   */
  subscribe(spec: LiveQuerySpec, sink: Sink, terms: DeliveryTerms): Delivery {
    const delivery = new Delivery(this, this.#liveQueries.obtain(spec), sink, terms);
    this.#liveQueries.join(delivery);
    return delivery;
  }

  unsubscribe(delivery: Delivery): void {
    delivery.close();
    this.#liveQueries.leave(delivery, Date.now());
  }

  /** Whether there is a live query with this key now. */
  hasLiveQuery(key: string): boolean {
    return this.#liveQueries.get(key) !== undefined;
  }

  /** Collections that are followed from here on: of what happened to them before, the history knows nothing. */
  follow(namespaces: readonly string[]): void {
    for (const namespace of namespaces) this.#followedFrom.set(namespace, this.headSeq);
  }

  /** Whether the history holds what happened to a collection after entry `seq`. */
  holds(namespace: string, seq: number): boolean {
    return seq >= (this.#followedFrom.get(namespace) ?? 0);
  }

  /** From here on the history holds everything. */
  get historyStart(): { position: Position; seq: number } {
    const history = this.#readyHistory();
    return { position: history.start, seq: history.evictedSeq };
  }

  /** The commits after number `seq`; `null` where the history has let go of some. */
  entriesAfter(seq: number): HistoryEntry[] | null {
    const history = this.#readyHistory();
    return seq < history.evictedSeq ? null : history.after(seq);
  }

  /** Settles at the end of the next batch. */
  advanced(): Promise<void> {
    return this.#advance.promise;
  }

  /**
   * Settles when every change up to `clusterTime` has been handed to all deliveries that are live.
   * @throws {TidewireError} `unavailable` after `timeoutMs`.
   */
  reached(clusterTime: bigint, timeoutMs: number): Promise<void> {
    return this.#until(() => this.isSettled && this.headTime >= clusterTime, timeoutMs);
  }

  /**
   * Settles when the told head has passed an operation time, as the drivers give it, or the one who asks has been sent a change of that time or
   * later. So the wait tells nothing about writes that they do not see.
   * @throws {TidewireError} `unavailable` after `timeoutMs`.
   */
  toldReached(
    { t, i }: { t: number; i: number },
    hasBeenSent: (clusterTime: bigint) => boolean,
    timeoutMs: number,
  ): Promise<void> {
    const clusterTime = clusterTimeOf(t, i);
    const isDone = () => hasBeenSent(clusterTime) || this.#hasTold(clusterTime);
    return this.#until(isDone, timeoutMs, this.#toldHead.passesAtMs(clusterTime) - this.#serverNowMs());
  }

  /** Looks at the end of each batch, and after `againMs`. */
  async #until(isDone: () => boolean, timeoutMs: number, againMs = timeoutMs): Promise<void> {
    if (isDone()) return;
    const waiter = { isDone, ...deferred() };
    const timeout = setTimeout(
      () => waiter.reject(new TidewireError("unavailable", "the change stream is behind: try again later")),
      timeoutMs,
    );
    const again = setTimeout(() => void (isDone() && waiter.resolve()), Math.min(againMs, timeoutMs));
    this.#waiters.add(waiter);
    try {
      await waiter.promise;
    } finally {
      clearTimeout(timeout);
      clearTimeout(again);
      this.#waiters.delete(waiter);
    }
  }

  /**
   * Finds a position in the history; one that another node has come to already is waited for.
   * @returns `ahead` only for a position that does not exist.
   * @throws {TidewireError} `unavailable`
   */
  async locate(position: Position): Promise<Located> {
    const located = this.#readyHistory().locate(position);
    if (located !== "ahead") return located;
    const now = await this.#parts.deployment.now(position.clusterTime).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    if (position.clusterTime > now) return "ahead";
    await this.reached(position.clusterTime, REACH_TIMEOUT_MS);
    return this.#readyHistory().locate(position);
  }

  /** Reads what came after `position` out of the oplog; `null` where that does not reach back so far, or takes too long. */
  async readOplog(position: Position): Promise<OplogRead | null> {
    try {
      const read = await this.#oplogReads.request(position, this.#readyCodec());
      if (read !== null) this.#metrics.catchUps.inc({ from: "oplog" });
      return read;
    } catch (error) {
      if (!(error instanceof StreamStalledError)) throw unavailable(error);
      // There is too much to look through, and it would be no less the next time.
      this.noteCatchUpFailed(error);
      return null;
    }
  }

  /** The point at which rights change: at a commit that is being accepted, or at the head. */
  grantPoint(entry: HistoryEntry | null): GrantPoint {
    if (entry !== null) {
      const { clusterTime } = entry.commit;
      const told = { before: this.#cursorBefore(clusterTime), after: entry.cursor };
      return { entry, clusterTime, seq: entry.seq, told };
    }
    const { headTime: clusterTime, headSeq: seq } = this;
    const known = this.#headPoint;
    const nowMs = this.#serverNowMs();
    // All whose rights change at one point are told the same, and share the difference.
    if (known?.clusterTime === clusterTime && known.seq === seq && nowMs < known.untilMs) return known;
    const point = { entry, clusterTime, seq, told: this.#cursorsOfHead(clusterTime, nowMs) };
    this.#headPoint = { ...point, untilMs: this.tellsExactly ? 0 : this.#toldHead.stepEndsAtMs(nowMs) };
    return this.#headPoint;
  }

  #cursorsOfHead(clusterTime: bigint, nowMs: number): GrantPoint["told"] {
    const after = { clusterTime, within: AFTER };
    if (this.tellsExactly) return { before: this.#cursorBefore(clusterTime), after: this.encode(after) };
    const codec = this.#readyCodec();
    const before = { ...after, clusterTime: clusterTime - 1n };
    return { before: codec.encodeHidden(before, nowMs - 1), after: codec.encodeHidden(after, nowMs) };
  }

  /** Of an earlier cluster time, so that a ticket which begins at this one does not go with it. */
  #cursorBefore(clusterTime: bigint): string {
    return this.encode({ clusterTime: clusterTime - 1n, within: AFTER });
  }

  /** The exact position at which a change of rights has taken effect. */
  positionAfter({ entry, clusterTime }: GrantPoint): Position {
    return entry?.position ?? { clusterTime, within: AFTER };
  }

  /**
   * What became of the state that a live query had at entry `seq`, as a move to another one at the head; `null` where too
   * much has happened since.
   */
  moveSince(held: LiveQuerySpec, to: LiveQuery, seq: number, wantsDocuments: boolean): GrantMove | null {
    const entries = this.entriesAfter(seq);
    if (entries === null || entries.length > MISSED_COMMITS_MAX) return null;
    const events = entries.flatMap(({ commit }) => commit.events);
    const from = this.#liveQueries.detached(held);
    const missed = { seq, events, heldAt: this.#readyHistory().timeAfter(seq), wantsDocuments };
    return { from, to, at: this.grantPoint(null), held: [], missed };
  }

  /** The cursor of a result that was just read, as it was after a cluster time. */
  cursorOfReading(clusterTime: bigint): string {
    const position = { clusterTime, within: AFTER };
    return this.tellsExactly ? this.encode(position) : this.hide(position).cursor;
  }

  /**
   * Where one begins who follows the changes of a live query only. For the length of a step, and as long as the result has not
   * changed, that is the same point for everyone: a newer one would tell that something else was written.
   * @param since The point is of this cluster time or later.
   */
  startOfChanges(liveQuery: LiveQuery, since: bigint): ChangesStart {
    const { head: position, headSeq: seq } = this;
    if (this.tellsExactly) return { cursor: this.encode(position), position, seq, untilMs: 0 };
    const nowMs = this.#serverNowMs();
    for (const known of [this.told, this.#changesStarts.get(liveQuery)]) {
      const isGood = known !== undefined && nowMs < known.untilMs && known.position.clusterTime >= since;
      if (isGood && liveQuery.after(known.seq)?.length === 0) return known;
    }
    const start = { ...this.#hide(position, nowMs), seq };
    this.#changesStarts.set(liveQuery, start);
    return start;
  }

  /**
   * See `readGrantDiff`; `null` also where MongoDB does not answer: then the result is read anew when it does. All whose
   * rights change alike at one point share it: an edit of the rules concerns everyone at once.
   */
  readGrantDiff(move: GrantMove): Promise<Change[] | null> {
    const { from, to, at, missed } = move;
    // Of a commit that changes rights itself, what it did to documents is a part of the difference.
    const what = at.entry === null ? "edit" : "commit";
    const since = missed === undefined ? "" : `${missed.seq} ${missed.wantsDocuments}`;
    const key = `${from.spec.key} ${to.number} ${what} ${at.seq} ${at.clusterTime} ${at.told.after} ${since}`;
    const known = this.#grantDiffs.get(key);
    if (known !== undefined) return known;
    const reading = this.#readGrantDiff(move).finally(() => this.#grantDiffs.delete(key));
    this.#grantDiffs.set(key, reading);
    return reading;
  }

  async #readGrantDiff(move: GrantMove): Promise<Change[] | null> {
    const { client, log } = this.#parts;
    // The commit may be one of a batch that has not been handed out whole: its neighbours have to be known.
    while (!this.isSettled) await this.settles;
    try {
      return await this.#snapshots.runLimited(async () => {
        await this.#snapshots.checkIndex(move.to);
        // A window is read as it was just after the commit: not where another commit has the same time.
        if (move.to.windowSpec !== null && this.#readyHistory().timeAfter(move.at.seq) === null) return null;
        return readGrantDiff(client, move, this.#limits.snapshotDocuments, this.#gate);
      });
    } catch (error) {
      const isPassing = error instanceof TidewireError && error.code === "unavailable";
      if (!isMongoFailure(error) && !isPassing) throw error;
      log.warn({ err: error }, "the difference of a change of rights could not be read");
      return null;
    }
  }

  /** A reading of cluster time `since` or later, charged to a user while it is in memory whole. */
  openSnapshot(liveQuery: LiveQuery, mode: ValueMode, since: bigint, account: Account) {
    return this.#snapshots.open(liveQuery, mode, since, account);
  }

  /**
   * Whether a set has been the same from a position on; as far as the history reaches, which is what is asked
   * where it does not reach back to the position.
   */
  isUnchanged(set: LookupSet, { clusterTime }: Position, seq: number): boolean {
    if (set.sameSince < clusterTime) return true;
    const entries = this.entriesAfter(seq);
    if (entries === null || !this.holds(set.namespace, seq)) return false;
    const last = entries.findLast(({ commit }) => set.mayChangeBy(commit.events));
    // Many come back at once: the next one need not look again.
    set.sameSince = last?.commit.clusterTime ?? clusterTime;
    return last === undefined;
  }

  /**
   * Brings documents that were read while the collection changed to what they were at one cluster time: the
   * commits that came during the read are applied to them, whether or not the read had seen them already.
   */
  async makeExact(
    liveQuery: LiveQuery,
    raw: Uint8Array[],
    since: bigint,
  ): Promise<{ raw: Uint8Array[]; clusterTime: bigint }> {
    const clusterTime = await this.#parts.deployment.now();
    await this.reached(clusterTime, REACH_TIMEOUT_MS);
    const located = this.#readyHistory().locate({ clusterTime: since, within: 0 });
    if (typeof located === "string") throw new TidewireError("unavailable", "the snapshot took too long");
    const documents = new Map(raw.map((document) => [valueKey(idOf(document)), document]));
    const slices = new Slices(this.#limits.commitSliceMs, this.#parts.sliceClock);
    slices.begin();
    for (const { commit } of this.#readyHistory().after(located.seq)) {
      if (commit.clusterTime <= clusterTime) liveQuery.applyTo(documents, commit.events);
      if (slices.isOver()) await slices.pause();
    }
    return { raw: [...documents.values()], clusterTime };
  }

  noteLagged(): void {
    this.#metrics.lagged.inc();
  }

  noteCatchUp(): void {
    this.#metrics.catchUps.inc({ from: "history" });
  }

  noteReadFailed(error: unknown): void {
    this.#parts.log.warn({ err: error }, "a snapshot could not be read to its end; it will be read anew");
  }

  noteCatchUpFailed(error: unknown): void {
    this.#parts.log.warn({ err: error }, "what was missed could not be read; the result is read anew");
  }

  get liveQueries(): number {
    return this.#liveQueries.size;
  }

  #liveQueryParts(): ReturnType<LiveQueriesParts["partsOf"]> {
    return {
      client: this.#parts.client,
      history: this.#readyHistory(),
      gate: this.#gate,
      newSlices: () => new Slices(this.#limits.commitSliceMs, this.#parts.sliceClock),
      encoder: this.#encoder,
      budget: this.#budget,
      logBudget: this.#logBudget,
      metrics: this.#metrics,
      snapshotTimeMs: this.#limits.snapshotTimeMs,
      sortedDocumentsMax: this.#limits.snapshotDocuments,
      onExtendFailed: (error) => this.noteCatchUpFailed(error),
      onWindowLost: (error) => this.#parts.log.warn({ err: error }, "a window was lost; it is read anew"),
    };
  }

  #sweep(): void {
    // Changes are on their way to those who follow: what they need must not go.
    this.#sweepIsDue = !this.isSettled;
    if (this.#sweepIsDue) return;
    const now = Date.now();
    this.#liveQueries.sweep(now);
    this.#logBudget.prune();
    if (this.#history !== undefined) this.#logBudget.trim(this.#history.headSeq);
    this.#snapshots.sweep();
    this.lookups.sweep(now);
    for (const follower of this.#stateFollowers.values()) follower.sweep(now);
    this.#metrics.encodedBytes.set(this.#budget.usedBytes);
    this.#metrics.encodeCacheBytes.set(this.#encoder.heldBytes);
    this.#metrics.changeLogBytes.set(this.#logBudget.usedBytes);
  }

  #wake(): void {
    this.#advance.resolve();
    this.#advance = deferred();
    for (const waiter of this.#waiters) if (waiter.isDone()) waiter.resolve();
  }

  #readyHistory(): History {
    if (this.#history === undefined) throw notReady();
    return this.#history;
  }

  #readyCodec(): CursorCodec {
    if (this.#codec === undefined) throw notReady();
    return this.#codec;
  }
}

const notReady = () =>
  new TidewireError(
    "unavailable",
    "the service is starting: try again in a moment",
    {},
    { retryAfterMs: 1_000 },
  );

/** What a client is told when MongoDB did not answer; the server's own words are for the log alone. */
function unavailable(cause: unknown): unknown {
  if (!isMongoFailure(cause)) return cause;
  return new TidewireError(
    "unavailable",
    "MongoDB cannot be reached just now: try again later",
    {},
    { cause },
  );
}
