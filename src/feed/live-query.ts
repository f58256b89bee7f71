/**
 * One live query: evaluation, log, broadcast and state of one effective query. Most of a node's memory is in its live
 * queries, so parts that few of them need are created on first use.
 */
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type AggregatePlan, planOf } from "./aggregate-plan.ts";
import { AggregateKind, type AggregateOwner } from "./aggregated-result.ts";
import { Broadcast } from "./broadcast.ts";
import { type LacksEncoding, type LogPosition, type NextChunk, toChunks } from "./catch-up-chunks.ts";
import { type Change, UNKNOWN } from "./change.ts";
import { ChangeEncoder, takesSteps } from "./change-encoder.ts";
import { ChangeLog, type EncodedBudget, type EncodedEntry } from "./change-log.ts";
import type { Chunk, EncodedMessage } from "./chunk.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { documentQueryOf } from "./document-query.ts";
import { Evaluation } from "./evaluation.ts";
import { NOTHING } from "./handout.ts";
import type { RowPace } from "./held-rows.ts";
import type { History, HistoryEntry } from "./history.ts";
import type { LackingRead, ResultKind } from "./kept-result.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { LogBudget } from "./log-budget.ts";
import type { CommitCursors, LogEntry } from "./log-entry.ts";
import { Pace, type Pacer } from "./pace.ts";
import type { PastRequest } from "./past.ts";
import { isLong } from "./pieces.ts";
import type { ResultState } from "./result-state.ts";
import type { OplogBatch } from "./shared-stream.ts";
import type { Slices } from "./slices.ts";
import { Stateful } from "./stateful.ts";
import { Stateless } from "./stateless.ts";
import type { Timeline } from "./timeline.ts";
import { Turn } from "./turn.ts";
import { WindowedResult, type WindowSpec, windowKind } from "./windowed-result.ts";

/** The parts and limits that all live queries share. */
export interface LiveQueryParts {
  /** Reads documents that the result of a live query lacks, when it is their turn. */
  readonly readLacking: <T>(liveQuery: LiveQuery, read: LackingRead<T>) => Promise<T>;
  readonly timeline: Timeline;
  readonly encoder: DocumentEncoder;
  readonly budget: EncodedBudget;
  readonly logBudget: LogBudget;
  readonly metrics: Metrics;
  /** Makes slices for work on earlier commits. */
  readonly newSlices: () => Slices;
  /** How long MongoDB may work on one read, in milliseconds. */
  readonly snapshotTimeMs: number;
  /** How many documents a sorted result without a limit may have. */
  readonly sortedDocumentsMax: number;
  /** How many groups an aggregate may have. */
  readonly aggregateGroupsMax: number;
  /** How often the rows of an aggregate are sent. */
  readonly rowPace: RowPace;
  /** Changes are held back until `dueMs`, by the clock of `rowPace`. `flush` is to be called then. */
  readonly onHeld: (liveQuery: LiveQuery, dueMs: number) => void;
  /** A result that is kept in memory could not be kept up to date, and is read again. */
  readonly onWindowLost: (error: unknown) => void;
  /** The memory of a result may have changed. */
  readonly onWindowChanged: (liveQuery: LiveQuery) => void;
  /** Work on earlier commits has taken this long, in milliseconds. */
  readonly onCatchUpWork: (liveQuery: LiveQuery, ms: number) => void;
}

/** The changes that one entry of a batch from the oplog makes. */
export interface OplogMessages {
  /** Index of the entry in the batch. */
  readonly index: number;
  readonly messages: readonly EncodedMessage[] | typeof UNKNOWN;
}

/**
 * The query behind all subscriptions with the same effective query. It turns each commit into changes once, encodes
 * them once for each value mode, and keeps them while the history reaches back to them. Its `ResultState` decides how:
 * `Stateless` for an unsorted result, `Stateful` for a sorted one and for the groups of an aggregate.
 */
export class LiveQuery implements Pacer, AggregateOwner {
  readonly number: number;
  readonly spec: LiveQuerySpec;
  readonly namespace: string;
  /** The window of a sorted live query; `null` for all others. */
  readonly #windowSpec: WindowSpec | null;
  /** Of an aggregate; `null` for all others. */
  readonly #plan: AggregatePlan | null;
  readonly evaluation: Evaluation;
  readonly state: ResultState;
  readonly broadcast: Broadcast;
  readonly #parts: LiveQueryParts;
  readonly #history: History;
  readonly #encoder: ChangeEncoder;
  readonly #log: ChangeLog;
  /** Created on first use, because most live queries never need it, and each map costs the garbage collector time. */
  #fromOplog: WeakMap<OplogBatch, Map<ValueMode, Promise<readonly OplogMessages[]>>> | undefined;
  #fromGrants: WeakMap<readonly Change[], Map<ValueMode, Promise<readonly Chunk[]>>> | undefined;
  /** Entries that are being encoded for clients that resume. */
  #encoding: { readonly [mode in ValueMode]: Map<LogEntry, Promise<EncodedEntry>> } | undefined;
  /** The work that makes the log reach back, and the users who wait for it. */
  #extending: { readonly turn: Turn; readonly done: Promise<boolean> } | undefined;
  #isRetired = false;

  constructor(number: number, spec: LiveQuerySpec, parts: LiveQueryParts) {
    this.number = number;
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    this.#windowSpec =
      spec.sort === null ? null : { sort: spec.sort, limit: spec.limit, sizeMax: parts.sortedDocumentsMax };
    this.#plan = spec.aggregate === null ? null : planOf(spec.aggregate, parts.aggregateGroupsMax);
    this.evaluation = new Evaluation(this.namespace, spec.filter, this.#plan?.projection ?? spec.projection);
    this.#parts = parts;
    this.#history = parts.timeline.history;
    this.#encoder = new ChangeEncoder(spec, parts.encoder);
    this.#log = new ChangeLog(this.#history, this.#encoder, parts, this.#plan !== null);
    this.broadcast = new Broadcast(
      this.#log,
      this.#encoder,
      parts.metrics,
      this.namespace,
      this.#plan === null ? null : parts.rowPace,
    );
    this.state = this.#newState();
  }

  #newState(): ResultState {
    const { evaluation } = this;
    const [log, broadcast] = [this.#log, this.broadcast];
    const kind = this.#kindOfResult();
    if (kind !== null) return new Stateful(this.#parts, { kind, log, broadcast, owner: this });
    return new Stateless({ history: this.#history, evaluation, log, broadcast, pacer: this });
  }

  /** `null` for a result of which nothing is kept. */
  #kindOfResult(): ResultKind | null {
    const { evaluation } = this;
    if (this.#plan !== null) return new AggregateKind(this.#parts, this.#plan, this);
    if (this.#windowSpec === null) return null;
    const query = documentQueryOf(this.spec, this.#parts.snapshotTimeMs);
    const readLacking = <T>(read: LackingRead<T>) => this.#parts.readLacking(this, read);
    return windowKind({ readLacking, query, spec: this.#windowSpec, evaluation, pacer: this });
  }

  /** Reads the result. */
  get snapshotQuery(): SnapshotQuery {
    const query = documentQueryOf(this.spec, this.#parts.snapshotTimeMs);
    if (this.#plan !== null) return this.#plan.loadQuery(query);
    return this.#windowSpec === null ? query : WindowedResult.loadQuery(query, this.#windowSpec);
  }

  /** Whether the live query was removed, so that no commit concerns it any more. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Makes a pace that divides work on earlier commits and charges it to this live query. */
  newPace(): Pace {
    return new Pace(this.#parts.newSlices(), (ms) => this.#parts.onCatchUpWork(this, ms));
  }

  /**
   * Applies a new commit.
   * @returns Whether there are changes to flush.
   */
  apply(entry: HistoryEntry): boolean {
    return this.state.apply(entry);
  }

  /** Like `apply`, for a commit of many events, with pauses. */
  applyInSteps(entry: HistoryEntry): Generator<void, boolean> {
    return this.state.applyInSteps(entry);
  }

  /**
   * Delivers the changes since the last flush to all followers, or holds them back.
   * @param atOnce Also what is held back.
   */
  flush(atOnce = false): Iterable<void> {
    const dueMs = atOnce ? null : this.broadcast.heldUntilMs;
    if (dueMs === null) return this.broadcast.flush(() => this.state.lose());
    this.#parts.onHeld(this, dueMs);
    return NOTHING;
  }

  /**
   * The next chunk for a client that has received everything up to `position`; `log` begins there. Clients at equal
   * positions share it.
   */
  nextChunk(
    log: readonly LogEntry[],
    position: LogPosition,
    mode: ValueMode,
    encoded: EncodedEntry | undefined,
  ): "nothing" | "unknown" | LacksEncoding | NextChunk {
    return this.#log.nextChunk(log, position, mode, encoded);
  }

  /** Encodes an entry that `nextChunk` lacks, with pauses. Clients that resume together share the work. */
  encodeEntry(entry: LogEntry, mode: ValueMode): Promise<EncodedEntry> {
    this.#encoding ??= { json: new Map(), ejson: new Map() };
    const inMode = this.#encoding[mode];
    const known = inMode.get(entry);
    if (known !== undefined) return known;
    const pace = this.newPace();
    const encoding = pace.through(this.#log.encodeInSteps(entry, mode)).finally(() => {
      pace.stop();
      inMode.delete(entry);
    });
    inMode.set(entry, encoding);
    return encoding;
  }

  /**
   * The messages of a batch that was read from the oplog for an unsorted result, entry by entry. Entries without
   * changes are left out. All clients that share the read share the result.
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
    const pace = this.newPace();
    for (const [index, entry] of batch.entries.entries()) {
      const { events } = entry.commit;
      const changes = isLong(events)
        ? await pace.through(this.evaluation.inSteps(events))
        : this.evaluation.of(events);
      if (changes === UNKNOWN) found.push({ index, messages: UNKNOWN });
      else if (changes.length > 0) {
        const messages = takesSteps(changes)
          ? await pace.through(this.#encoder.encodeCommitInSteps(changes, entry, mode))
          : this.#encoder.encodeCommit(changes, entry, mode);
        found.push({ index, messages });
      }
      if (pace.isOver) await pace.keep();
      if (this.#isRetired) break;
    }
    pace.stop();
    return found;
  }

  /**
   * The messages of the difference that a change of rights made. All clients that share the difference share the text.
   */
  grantChunks(
    changes: readonly Change[],
    cursors: CommitCursors,
    mode: ValueMode,
    documents = this.spec.documents,
  ): Promise<readonly Chunk[]> {
    this.#fromGrants ??= new WeakMap();
    let byMode = this.#fromGrants.get(changes);
    if (byMode === undefined) {
      byMode = new Map();
      this.#fromGrants.set(changes, byMode);
    }
    const known = byMode.get(mode);
    if (known !== undefined) return known;
    const pace = this.newPace();
    const steps = this.#encoder.encodeAllInSteps(changes, cursors, mode, documents);
    const chunks = pace
      .through(steps)
      .then((messages) => pace.through(toChunks(messages)))
      .finally(() => pace.stop());
    byMode.set(mode, chunks);
    return chunks;
  }

  /** Log entries after number `seq`; `undefined` if the log does not reach back that far. */
  after(seq: number): LogEntry[] | undefined {
    return this.state.isLoaded ? this.#log.after(seq) : undefined;
  }

  /**
   * Makes the log reach back to number `seq`. Clients that resume together share the work.
   * @param past Reads the state at an earlier time, if it is needed. The first client reads for all.
   * @returns `false` if the history has evicted that part meanwhile, or the state is no longer available.
   * @throws {TidewireError} See `ResultState.extendTo`.
   */
  async extend(seq: number, { payer, isWanted, read }: PastRequest): Promise<boolean> {
    while (this.after(seq) === undefined) {
      if (seq < this.#history.evictedSeq) return false;
      const shared = this.#extending;
      if (shared !== undefined) {
        shared.turn.join(payer, isWanted);
        // The exceeded budget of another user is no reason to refuse this one.
        if (!(await shared.done.catch(throwUnlessOfUser))) return false;
        continue;
      }
      const turn = new Turn(payer, isWanted);
      const done = this.state
        .extendTo(seq, (at) => read(turn, at))
        .finally(() => {
          this.#extending = undefined;
        });
      this.#extending = { turn, done };
      if (!(await done)) return false;
    }
    return true;
  }

  /** Drops the state: the order of commits was broken, or the live query was removed. */
  forget(): void {
    this.broadcast.forget();
    this.state.lose();
    this.#log.restart(this.#history.headSeq);
  }

  /** The live query was removed, so work in progress ends. */
  retire(): void {
    this.#isRetired = true;
    this.state.retire();
    this.forget();
  }
}

/** Passes over an error that concerns only the user for whom the work was done. */
function throwUnlessOfUser(error: unknown): true {
  if (error instanceof TidewireError && error.code === "too-many-subscriptions") return true;
  throw error;
}
