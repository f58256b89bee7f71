import type { Filter } from "../match/filter.ts";
import type { Projection } from "../match/projection.ts";
import { toMongo } from "../match/to-mongo.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { DocumentMode, SortSpec, ValueMode } from "../protocol/messages.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type Change, type DocumentEncoder, Evaluation, encodeChange, UNKNOWN } from "./change.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { History, HistoryEntry } from "./history.ts";

/** What a live query is: equal keys, one live query. Made by authorization; the rule is already in it. */
export interface LiveQuerySpec {
  /** Canonical identity of everything below. */
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  readonly projection: Projection;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly documents: DocumentMode;
}

/** One that follows the live query now, up to the head of the history. */
export interface Follower {
  readonly mode: ValueMode;
  /** Takes the changes of the entries up to number `seq`. */
  deliver(chunk: Chunk, seq: number): void;
  /** The result can no longer be told from the change events: it has to be read anew. */
  startOver(): void;
}

/** What one commit did to the result; kept as long as the history, so that catch-up is only reading. */
export interface LogEntry {
  readonly seq: number;
  readonly clusterTime: bigint;
  readonly changes: readonly Change[] | typeof UNKNOWN;
  readonly entry: HistoryEntry;
  readonly encoded: Map<ValueMode, EncodedMessage[]>;
}

/** Bounds the encoded changes that all live queries keep together; what does not fit is encoded again when needed. */
export class EncodedBudget {
  readonly limitBytes: number;
  usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }
}

/** How much of the history is matched before other work gets its turn, in entries. */
const EXTEND_STEP = 500;

/**
 * The query behind all subscriptions that come to the same effective query. It turns each commit into changes
 * once, encodes them once for each value mode, and keeps them while the history reaches back to them.
 */
export class LiveQuery {
  readonly number: number;
  readonly spec: LiveQuerySpec;
  readonly namespace: string;
  readonly snapshotQuery: SnapshotQuery;
  /** Everyone who is up to date; whoever is not reads the log at their own pace first. */
  readonly followers = new Set<Follower>();
  readonly #evaluation: Evaluation;
  readonly #history: History;
  readonly #encoder: DocumentEncoder;
  readonly #budget: EncodedBudget;
  readonly #metrics: Metrics;
  #log: LogEntry[] = [];
  /** The log holds the changes of every entry after this number. */
  #coveredFrom: number;
  #pending: LogEntry[] = [];
  #extending: Promise<boolean> | undefined;

  constructor(
    number: number,
    spec: LiveQuerySpec,
    history: History,
    shared: { encoder: DocumentEncoder; budget: EncodedBudget; metrics: Metrics },
  ) {
    this.number = number;
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    this.snapshotQuery = {
      database: spec.database,
      collection: spec.collectionName,
      filter: toMongo(spec.filter),
    };
    this.#evaluation = new Evaluation(this.namespace, spec.filter, spec.projection);
    this.#history = history;
    this.#encoder = shared.encoder;
    this.#budget = shared.budget;
    this.#metrics = shared.metrics;
    this.#coveredFrom = history.headSeq;
  }

  /** Takes a new commit into account; whether there is something to flush. */
  apply(entry: HistoryEntry): boolean {
    const logEntry = this.#evaluate(entry);
    if (logEntry === null) return false;
    this.#log.push(logEntry);
    this.#pending.push(logEntry);
    if (logEntry.changes !== UNKNOWN) {
      for (const { type } of logEntry.changes) this.#metrics.changes.inc({ type });
    }
    return true;
  }

  /** Hands what `apply` found since the last flush to all followers, in one chunk for each value mode. */
  flush(): void {
    const pending = this.#pending;
    this.#pending = [];
    const last = pending.at(-1);
    if (last === undefined || this.followers.size === 0) return;
    if (pending.some((entry) => entry.changes === UNKNOWN)) {
      this.#metrics.resets.inc({ reason: "history-lost" }, this.followers.size);
      for (const follower of [...this.followers]) follower.startOver();
      return;
    }
    const chunks = new Map<ValueMode, Chunk>();
    for (const follower of this.followers) {
      let chunk = chunks.get(follower.mode);
      if (chunk === undefined) {
        chunk = new Chunk(pending.flatMap((entry) => this.encode(entry, follower.mode)));
        chunks.set(follower.mode, chunk);
      }
      follower.deliver(chunk, last.seq);
    }
    this.#metrics.deliveries.inc(this.followers.size * pending.length);
  }

  /** The messages of one entry. The cursors of all but the last point before the commit: nobody resumes inside it. */
  encode(entry: LogEntry, mode: ValueMode): EncodedMessage[] {
    const known = entry.encoded.get(mode);
    if (known !== undefined || entry.changes === UNKNOWN) return known ?? [];
    const messages = this.encodeChanges(entry.changes, entry.entry, mode);
    const size = sizeOf(messages);
    if (this.#budget.usedBytes + size <= this.#budget.limitBytes) {
      this.#budget.usedBytes += size;
      entry.encoded.set(mode, messages);
    }
    return messages;
  }

  encodeChanges(changes: readonly Change[], at: HistoryEntry, mode: ValueMode): EncodedMessage[] {
    const spec = { query: this.number, projection: this.spec.projection };
    return changes.map((change, index) => {
      const cursor = index === changes.length - 1 ? at.cursor : at.cursorBefore;
      return { type: change.type, cursor, text: encodeChange(change, spec, cursor, mode, this.#encoder) };
    });
  }

  /** The changes of one entry that is not (or no longer) of the history: for catch-up from the oplog. */
  evaluate(entry: HistoryEntry): readonly Change[] | typeof UNKNOWN {
    return this.#evaluation.of(entry.commit.events);
  }

  /** Brings documents that were read from the collection up to date with later events. */
  applyTo(documents: Map<string, Uint8Array>, events: readonly StreamEvent[]): void {
    this.#evaluation.applyTo(documents, events);
  }

  /** Log entries after number `seq`; `undefined` where the log does not reach back so far. */
  after(seq: number): LogEntry[] | undefined {
    this.prune();
    if (seq < this.#coveredFrom) return undefined;
    return this.#log.slice(lowerBound(this.#log, seq + 1));
  }

  /**
   * Makes the log reach back to number `seq`. Many who come back at once share the work.
   * @returns Whether it does now; not where the history has lost that part meanwhile.
   */
  async extend(seq: number): Promise<boolean> {
    while (seq < this.#coveredFrom) {
      if (seq < this.#history.evictedSeq) return false;
      if (this.#extending === undefined) {
        this.#extending = this.#extendTo(seq).finally(() => {
          this.#extending = undefined;
        });
      }
      if (!(await this.#extending)) return false;
    }
    return true;
  }

  /** Lets go of what the history has let go of. */
  prune(): void {
    const { evictedSeq } = this.#history;
    if (evictedSeq <= this.#coveredFrom) return;
    this.#coveredFrom = evictedSeq;
    const keep = lowerBound(this.#log, evictedSeq + 1);
    if (keep > 0) this.#release(this.#log.splice(0, keep));
  }

  /** What is known is void: the order of changes was broken, or the live query is given up. */
  forget(): void {
    this.#release(this.#log);
    this.#log = [];
    this.#pending = [];
    this.#coveredFrom = this.#history.headSeq;
  }

  #evaluate(entry: HistoryEntry): LogEntry | null {
    const changes = this.#evaluation.of(entry.commit.events);
    if (changes !== UNKNOWN && changes.length === 0) return null;
    const { seq } = entry;
    return { seq, clusterTime: entry.commit.clusterTime, changes, entry, encoded: new Map() };
  }

  #release(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      for (const messages of entry.encoded.values()) this.#budget.usedBytes -= sizeOf(messages);
      entry.encoded.clear();
    }
  }

  async #extendTo(seq: number): Promise<boolean> {
    const until = this.#coveredFrom;
    const entries = this.#history.after(seq).filter((entry) => entry.seq <= until);
    const found: LogEntry[] = [];
    for (const [index, entry] of entries.entries()) {
      const logEntry = this.#evaluate(entry);
      if (logEntry !== null) found.push(logEntry);
      if (index % EXTEND_STEP === EXTEND_STEP - 1) await new Promise(setImmediate);
    }
    // Meanwhile the order may have begun anew, or the history dropped what was to be joined.
    if (this.#coveredFrom !== until || seq < this.#history.evictedSeq) return false;
    this.#log = [...found, ...this.#log];
    this.#coveredFrom = seq;
    return true;
  }
}

const sizeOf = (messages: readonly EncodedMessage[]) =>
  messages.reduce((size, message) => size + message.text.length, 0);

/** Index of the first entry whose number is at least `seq`. */
function lowerBound(log: readonly LogEntry[], seq: number): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = log[middle];
    if (entry !== undefined && entry.seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
