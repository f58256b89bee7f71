import { canonicalProjection, projectedEqual } from "../match/projection.ts";
import { toMongo } from "../match/to-mongo.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { MongoAccess } from "../source/mongo.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type NextChunk, type Place, toChunks } from "./catch-up-chunks.ts";
import { type Change, type DocumentEncoder, Evaluation, UNKNOWN } from "./change.ts";
import { ChangeLog, type EncodedBudget, type LogEntry, toLogEntry } from "./change-log.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { Follower } from "./follower.ts";
import type { History, HistoryEntry } from "./history.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { LogBudget } from "./log-budget.ts";
import { Pace } from "./pace.ts";
import { isLong } from "./pieces.ts";
import { QueryCost } from "./query-cost.ts";
import type { OplogBatch } from "./shared-stream.ts";
import type { Slices } from "./slices.ts";
import type { Timeline } from "./timeline.ts";
import type { WindowPlace } from "./window-changes.ts";
import { WindowedResult, type WindowSpec } from "./windowed-result.ts";

export interface LiveQueryParts {
  readonly client: MongoAccess;
  readonly timeline: Timeline;
  readonly encoder: DocumentEncoder;
  readonly budget: EncodedBudget;
  readonly logBudget: LogBudget;
  readonly metrics: Metrics;
  /** Slices for work on commits of before, which then are let go of one by one. */
  readonly newSlices: () => Slices;
  /** The bytes of its window may be others. */
  readonly onWindowChanged: (liveQuery: LiveQuery) => void;
  /** It has worked for so long on commits of before. */
  readonly onCatchUpWork: (liveQuery: LiveQuery, ms: number) => void;
  /** How long MongoDB may work on one read. */
  readonly snapshotTimeMs: number;
  /** How many documents a sorted result without a limit may have. */
  readonly sortedDocumentsMax: number;
  /** A window could not be kept up; it is read anew. */
  readonly onWindowLost: (error: unknown) => void;
  /** The past of a window could not be read; who asked for it starts over. */
  readonly onExtendFailed: (error: unknown) => void;
}

/** What one entry of a batch from the oplog did. */
export interface OplogMessages {
  /** Its place in the batch. */
  readonly index: number;
  readonly messages: readonly EncodedMessage[] | typeof UNKNOWN;
}

const NOT_WAITING = Promise.resolve();

/** What a window holds for a document besides its key, in bytes; measured, and rounded up. */
const WINDOW_ENTRY_BYTES = 600;
/** How many followers are served before the event loop may have its turn. */
const FOLLOWERS_STEP = 64;

/**
 * The query behind all subscriptions that come to the same effective query. It turns each commit into changes
 * once, encodes them once for each value mode, and keeps them while the history reaches back to them.
 *
 * Unsorted, it remembers nothing: the images of an event tell what it did. Sorted, it keeps a window, which now
 * and then has to ask the database; until the answer is there, later commits wait in the history.
 */
export class LiveQuery {
  readonly number: number;
  readonly spec: LiveQuerySpec;
  readonly namespace: string;
  readonly snapshotQuery: SnapshotQuery;
  /** Of a sorted live query; `null` for all others. */
  readonly windowSpec: WindowSpec | null;
  /** Everyone who is up to date; whoever is not reads the log at their own pace first. */
  readonly followers = new Set<Follower>();
  /** What its commits cost. */
  readonly cost = new QueryCost();
  readonly #parts: LiveQueryParts;
  readonly #evaluation: Evaluation;
  readonly #history: History;
  readonly #log: ChangeLog;
  /** Made when first needed, as a live query of one user's never needs it and the collector has to look after each. */
  #fromOplog: WeakMap<OplogBatch, Map<ValueMode, Promise<readonly OplogMessages[]>>> | undefined;
  #fromGrants: WeakMap<readonly Change[], Map<ValueMode, readonly Chunk[]>> | undefined;
  #pending: LogEntry[] = [];
  #extending: Promise<boolean> | undefined;
  #isRetired = false;
  /** The state of a sorted live query; none before it is loaded, and after it was lost. */
  #window: WindowedResult | undefined;
  /** The window has come to this entry, and waits there for the database; `null` if it does not wait. */
  #waitsAt: number | null = null;
  /** Settles when the window waits no longer, or is lost. */
  #waiting: Promise<void> = NOT_WAITING;
  /** Grows when what is going on has become pointless. */
  #generation = 0;

  constructor(number: number, spec: LiveQuerySpec, parts: LiveQueryParts) {
    this.number = number;
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    const query = {
      database: spec.database,
      collection: spec.collectionName,
      filter: toMongo(spec.filter),
      maxTimeMs: parts.snapshotTimeMs,
    };
    this.windowSpec =
      spec.sort === null ? null : { sort: spec.sort, limit: spec.limit, sizeMax: parts.sortedDocumentsMax };
    this.snapshotQuery = this.windowSpec === null ? query : WindowedResult.loadQuery(query, this.windowSpec);
    this.#parts = parts;
    this.#evaluation = new Evaluation(this.namespace, spec.filter, spec.projection);
    this.#history = parts.timeline.history;
    this.#log = new ChangeLog(spec, this.#history, parts);
  }

  /** Nothing of what the history holds is still to be worked out. */
  get isCurrent(): boolean {
    return this.#waitsAt === null;
  }

  /** Up to which entry the changes are known. */
  get knownSeq(): number {
    return this.#waitsAt === null ? this.#history.headSeq : this.#waitsAt;
  }

  /** Settles when the changes are known up to entry `seq` of the history, or the window is lost. */
  async reaches(seq: number): Promise<void> {
    while (this.knownSeq < seq) await this.#waiting;
  }

  /** Settles when every history entry has been evaluated, or the window is lost. */
  async becomesCurrent(): Promise<void> {
    while (this.#waitsAt !== null) await this.#waiting;
  }

  /** Documents that a window tracks; 0 for every other live query. */
  get trackedDocuments(): number {
    return this.#window?.size ?? 0;
  }

  /** Bytes that a window holds: keys, documents, and the bookkeeping of each entry. */
  get windowBytes(): number {
    if (this.#window === undefined) return 0;
    return this.#window.heldBytes + this.#window.size * WINDOW_ENTRY_BYTES;
  }

  /** Takes a new commit into account; whether there is something to flush. */
  apply(entry: HistoryEntry): boolean {
    if (this.windowSpec === null) return this.#take(entry, this.evaluate(entry));
    if (this.#window === undefined || entry.commit.clusterTime <= this.#window.loadedAt) {
      this.#log.restart(entry.seq);
      return false;
    }
    if (this.#waitsAt !== null) return false;
    return this.#noteWindow(entry, this.#window.apply(entry));
  }

  #noteWindow(entry: HistoryEntry, changes: ReturnType<WindowedResult["apply"]>): boolean {
    if (!(changes instanceof Promise)) {
      this.#parts.onWindowChanged(this);
      return this.#take(entry, changes);
    }
    this.#waiting = this.#catchUpWindow(entry, changes);
    return false;
  }

  /** As `apply`, for a commit of many events. */
  *applyInSteps(entry: HistoryEntry): Generator<void, boolean> {
    const { events } = entry.commit;
    if (this.windowSpec === null) return this.#take(entry, yield* this.#evaluation.inSteps(events));
    const window = this.#window;
    const isReady =
      window !== undefined && this.#waitsAt === null && entry.commit.clusterTime > window.loadedAt;
    if (!isReady) return this.apply(entry);
    const touched = yield* this.#evaluation.touchedInSteps(events);
    // The live query may have been given up meanwhile.
    if (this.#window !== window) return false;
    return this.#noteWindow(entry, window.applyTouched(entry, touched));
  }

  /** Hands what is new since the last flush to all followers, in one chunk for each value mode. */
  *flush(): Generator<void, void> {
    const pending = this.#pending;
    this.#pending = [];
    const last = pending.at(-1);
    if (last === undefined) return;
    this.#count(pending);
    if (pending.some((entry) => entry.changes === UNKNOWN)) {
      if (this.windowSpec !== null) this.#loseWindow();
      yield* this.#startOverAll();
      return;
    }
    this.#parts.metrics.deliveries.inc(this.followers.size * pending.length);
    const chunks: { [mode in ValueMode]?: Chunk } = {};
    let served = 0;
    // Nobody joins while this pauses, as catch-ups wait for the batch to end; whoever leaves is left out.
    for (const follower of this.followers) {
      // One follower that fails, or one mode that cannot be encoded, is none of the others' business.
      try {
        const chunk = chunks[follower.mode] ?? (yield* this.#chunkOf(pending, follower.mode));
        chunks[follower.mode] = chunk;
        if (this.followers.has(follower)) follower.deliver(chunk, last.seq);
      } catch (error) {
        follower.fail(error);
      }
      if (++served % FOLLOWERS_STEP === 0) yield;
    }
  }

  #count(entries: readonly LogEntry[]): void {
    const counts = { added: 0, changed: 0, removed: 0 };
    for (const { changes } of entries)
      if (changes !== UNKNOWN) for (const { type } of changes) counts[type]++;
    const { added, changed, removed } = this.#parts.metrics.changesBy;
    if (counts.added > 0) added.inc(counts.added);
    if (counts.changed > 0) changed.inc(counts.changed);
    if (counts.removed > 0) removed.inc(counts.removed);
  }

  *#chunkOf(entries: readonly LogEntry[], mode: ValueMode): Generator<void, Chunk> {
    const messages: EncodedMessage[] = [];
    for (const entry of entries) yield* this.#log.encodeLive(entry, mode, messages);
    return new Chunk(messages);
  }

  /** What one who has come to `place` is to be sent next; `log` begins there. Those who come back together share it. */
  nextChunk(log: readonly LogEntry[], place: Place, mode: ValueMode): "nothing" | "unknown" | NextChunk {
    return this.#log.nextChunk(log, place, mode);
  }

  /**
   * What a batch that was read from the oplog does to an unsorted result, entry by entry, those without any left
   * out; worked out once for all who share the read.
   */
  encodeOplogBatch(batch: OplogBatch, mode: ValueMode): Promise<readonly OplogMessages[]> {
    this.#fromOplog ??= new WeakMap();
    let byMode = this.#fromOplog.get(batch);
    if (byMode === undefined) {
      byMode = new Map();
      this.#fromOplog.set(batch, byMode);
    }
    const encoding = byMode.get(mode) ?? this.#encodeOplogBatch(batch, mode);
    byMode.set(mode, encoding);
    return encoding;
  }

  async #encodeOplogBatch(batch: OplogBatch, mode: ValueMode): Promise<readonly OplogMessages[]> {
    const found: OplogMessages[] = [];
    const pace = this.#newPace();
    for (const [index, entry] of batch.entries.entries()) {
      if (isLong(entry.commit.events)) await this.#prepare(entry, pace);
      const changes = this.evaluate(entry);
      if (changes === UNKNOWN) found.push({ index, messages: UNKNOWN });
      else if (changes.length > 0)
        found.push({ index, messages: this.#log.encodeChanges(changes, entry, mode) });
      if (pace.isOver) await pace.keep();
      if (this.#isRetired) break;
    }
    pace.stop();
    return found;
  }

  /** A difference that a change of rights made, as it is sent; one text for all who share the difference. */
  grantChunks(
    changes: readonly Change[],
    cursors: { last: string; others: string },
    mode: ValueMode,
    documents = this.spec.documents,
  ): readonly Chunk[] {
    this.#fromGrants ??= new WeakMap();
    let byMode = this.#fromGrants.get(changes);
    if (byMode === undefined) {
      byMode = new Map();
      this.#fromGrants.set(changes, byMode);
    }
    const chunks = byMode.get(mode) ?? toChunks(this.#log.encodeAll(changes, cursors, mode, documents));
    byMode.set(mode, chunks);
    return chunks;
  }

  /** The changes of one entry to an unsorted result, from its images alone. */
  evaluate(entry: HistoryEntry): LogEntry["changes"] {
    return this.#evaluation.of(entry.commit.events);
  }

  /** What a commit did to the documents of the result. */
  touchedBy(events: readonly StreamEvent[]): ReturnType<Evaluation["touchedBy"]> {
    return this.#evaluation.touchedBy(events);
  }

  /** What is in sight of a sorted live query, in order, nothing of any other; `null` where that is not known just now. */
  get places(): readonly WindowPlace[] | null {
    if (this.windowSpec === null) return [];
    return this.#window === undefined || this.#waitsAt !== null ? null : this.#window.places;
  }

  hasSameWindow({ spec }: LiveQuery): boolean {
    return this.spec.limit === spec.limit && JSON.stringify(this.spec.sort) === JSON.stringify(spec.sort);
  }

  hasSameProjection(other: LiveQuery): boolean {
    return canonicalProjection(this.spec.projection) === canonicalProjection(other.spec.projection);
  }

  /** Whether two states of a document look the same to those who follow. */
  looksEqual(a: Uint8Array, b: Uint8Array): boolean {
    return projectedEqual(this.spec.projection, a, b);
  }

  /** Brings documents that were read from the collection up to date with later events. */
  applyTo(documents: Map<string, Uint8Array>, events: readonly StreamEvent[]): void {
    this.#evaluation.applyTo(documents, events);
  }

  /** Log entries after number `seq`; `undefined` where the log does not reach back so far. */
  after(seq: number): LogEntry[] | undefined {
    if (this.windowSpec !== null && this.#window === undefined) return undefined;
    return this.#log.after(seq);
  }

  /**
   * Makes the log reach back to number `seq`. Many who come back at once share the work.
   * @returns Whether it does now; not where the history has lost that part meanwhile.
   */
  async extend(seq: number): Promise<boolean> {
    while (this.after(seq) === undefined) {
      if (seq < this.#history.evictedSeq) return false;
      this.#extending ??= this.#extendTo(seq).finally(() => {
        this.#extending = undefined;
      });
      if (!(await this.#extending)) return false;
    }
    return true;
  }

  /** Takes the result of the load query as the state of a window, unless there is one already. */
  loadWindow(documents: readonly Uint8Array[], clusterTime: bigint): void {
    const seq = this.#history.seqAt(clusterTime);
    if (this.windowSpec === null || this.#window !== undefined || seq === null) return;
    const { client } = this.#parts;
    const loaded = { documents, clusterTime };
    this.#adopt(WindowedResult.loaded(client, this.snapshotQuery, this.windowSpec, this.#evaluation, loaded));
    this.#log.restart(seq);
    this.#catchUpAdopted();
  }

  /** What is known is void: the order of changes was broken, or the live query is given up. */
  forget(): void {
    this.#pending = [];
    this.#loseWindow();
    this.#log.restart(this.#history.headSeq);
  }

  /** The live query is given up: whatever is still being worked out for it is wanted by nobody. */
  retire(): void {
    this.#isRetired = true;
    this.forget();
  }

  /** Notes the changes of an entry; whether there are any. */
  #take(entry: HistoryEntry, changes: LogEntry["changes"]): boolean {
    const logEntry = toLogEntry(entry, changes);
    if (logEntry === null) return false;
    this.#log.push(logEntry);
    this.#pending.push(logEntry);
    return true;
  }

  #adopt(window: WindowedResult): void {
    this.#window = window;
    this.#waitsAt = null;
    this.#generation++;
    this.#parts.onWindowChanged(this);
  }

  #loseWindow(): void {
    this.#window = undefined;
    this.#waitsAt = null;
    this.#generation++;
    this.#parts.onWindowChanged(this);
  }

  /** Applies what the history already holds beyond the state of a window that was just loaded. */
  #catchUpAdopted(): void {
    const first = this.#history.next(this.#log.coveredFrom);
    if (first !== undefined) this.#waiting = this.#catchUpWindow(first, this.#window?.apply(first) ?? []);
  }

  /** Works off the history from an entry on whose changes are on their way, as long as the database has to be asked. */
  async #catchUpWindow(
    first: HistoryEntry,
    firstChanges: ReturnType<WindowedResult["apply"]>,
  ): Promise<void> {
    const generation = this.#generation;
    let entry: HistoryEntry | undefined = first;
    let changes = firstChanges;
    const pace = this.#newPace();
    pace.stop();
    this.#waitsAt = first.seq - 1;
    try {
      while (entry !== undefined) {
        const found = await changes;
        // A commit that is being handed out must not reach a window before it has reached the lookups.
        while (!this.#parts.timeline.isSettled) await this.#parts.timeline.settles;
        if (generation !== this.#generation) return;
        this.#waitsAt = entry.seq;
        this.#parts.onWindowChanged(this);
        if (this.#take(entry, found)) runThrough(this.flush());
        pace.resume();
        if (pace.isOver) await pace.keep();
        const next = this.#history.next(entry.seq);
        if (next !== undefined && isLong(next.commit.events)) await this.#prepare(next, pace);
        while (!this.#parts.timeline.isSettled) await this.#parts.timeline.settles;
        if (generation !== this.#generation) return;
        if (entry.seq < this.#history.evictedSeq) throw new Error("the history has run away from a window");
        entry = this.#history.next(entry.seq);
        if (entry !== undefined) changes = this.#window?.apply(entry) ?? [];
        pace.stop();
      }
      this.#waitsAt = null;
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#parts.onWindowLost(error);
      this.#loseWindow();
      runThrough(this.#startOverAll());
    }
  }

  *#startOverAll(): Generator<void, void> {
    for (const follower of [...this.followers]) {
      try {
        follower.startOver();
      } catch (error) {
        follower.fail(error);
      }
      yield;
    }
  }

  /** Matches the documents of a long commit with pauses, so that evaluating it takes little more. */
  async #prepare({ commit }: HistoryEntry, pace: Pace): Promise<void> {
    for (const _ of this.#evaluation.prepareInSteps(commit.events)) if (pace.isOver) await pace.keep();
  }

  #newPace(): Pace {
    return new Pace(this.#parts.newSlices(), (ms) => this.#parts.onCatchUpWork(this, ms));
  }

  #extendTo(seq: number): Promise<boolean> {
    if (this.windowSpec === null) return this.#extendLog(seq);
    // MongoDB does not answer, or that time can not be read any more: the caller resets.
    return this.#extendWindow(seq, this.windowSpec).catch((error: unknown) => {
      this.#parts.onExtendFailed(error);
      return false;
    });
  }

  async #extendLog(seq: number): Promise<boolean> {
    const found: LogEntry[] = [];
    const pace = this.#newPace();
    let done = seq;
    // The log may let go of its beginning meanwhile.
    while (done < this.#log.coveredFrom) {
      const entry = done < this.#history.evictedSeq ? undefined : this.#history.next(done);
      if (entry === undefined || this.#isRetired) break;
      if (isLong(entry.commit.events)) await this.#prepare(entry, pace);
      const logEntry = toLogEntry(entry, this.evaluate(entry));
      if (logEntry !== null) found.push(logEntry);
      done = entry.seq;
      if (pace.isOver) await pace.keep();
    }
    pace.stop();
    if (done < this.#log.coveredFrom) return false;
    // Meanwhile the order may have begun anew, or the history dropped what was to be joined.
    if (seq < this.#history.evictedSeq) return false;
    this.#log.prepend(found, seq);
    return true;
  }

  /** A window has no way back: its state at entry `seq` is read, and brought forward to where the log begins. */
  async #extendWindow(seq: number, spec: WindowSpec): Promise<boolean> {
    const at = this.#history.timeAfter(seq);
    if (at === null) return false;
    const generation = this.#generation;
    const window = await WindowedResult.at(
      this.#parts.client,
      this.snapshotQuery,
      spec,
      this.#evaluation,
      at,
    );
    const found: LogEntry[] = [];
    const pace = this.#newPace();
    pace.stop();
    let done = seq;
    const target = () => (this.#window === undefined ? this.#history.headSeq : this.#log.coveredFrom);
    for (;;) {
      // At the end the window takes over from the log, or becomes current: between two batches of commits.
      while (!this.#parts.timeline.isSettled) await this.#parts.timeline.settles;
      if (done >= target()) break;
      if (done < this.#history.evictedSeq || generation !== this.#generation) return false;
      const entry = this.#history.next(done);
      if (entry === undefined) return false;
      pace.resume();
      if (isLong(entry.commit.events)) await this.#prepare(entry, pace);
      const changes = window.apply(entry);
      pace.stop();
      const logEntry = toLogEntry(entry, changes instanceof Promise ? await changes : changes);
      if (logEntry !== null) found.push(logEntry);
      done = entry.seq;
      pace.resume();
      if (pace.isOver) await pace.keep();
    }
    if (generation !== this.#generation || seq < this.#history.evictedSeq) return false;
    if (this.#window === undefined) {
      this.#adopt(window);
      this.#log.restart(done);
    }
    this.#log.prepend(found, seq);
    return true;
  }
}

/** Runs steps to their end, without a pause. */
function runThrough(steps: Iterable<void>): void {
  for (const _ of steps);
}
