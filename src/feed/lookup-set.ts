/**
 * One set of values from another collection on which rights depend, such as the rooms of which a user is a member. The
 * set counts how many documents have each value, so a commit costs as much as the commit is large, and not as much as
 * the set. Long commits and large documents are processed in steps, because the clients of all other live queries wait
 * meanwhile.
 */
import { isBindable } from "../match/bind-filter.ts";
import type { BsonValue } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter } from "../match/filter.ts";
import { compileFilterInSteps } from "../match/filter-steps.ts";
import { compilePathValues, type PathValues } from "../match/path-values.ts";
import { runThrough, SMALL_BYTES, StepPace, type Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import { hasImages, type StreamEvent } from "../source/change-event.ts";
import { UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import { imageBytesOf, isLong } from "./pieces.ts";

/** Values by their keys. */
type Values = ReadonlyMap<string, BsonValue>;

const NO_VALUES: Values = new Map();

/** The effect of a commit on a set: how many more documents have a value, or fewer if negative, by the value's key. */
export type LookupDelta = ReadonlyMap<string, { readonly value: BsonValue; readonly by: number }>;

/** The definition of a set. Claims have been replaced by their values. */
export interface LookupSpec {
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  /** The path whose values are the members of the set. */
  readonly value: string;
}

/** The owner of rights that depend on a set. */
export interface LookupHolder {
  /**
   * The set changes with this commit. Called before anything else reacts to the commit, so that a subscription whose
   * rights are withdrawn is silent before the next change.
   */
  lookupChanged(at: HistoryEntry): void;
  /** The content of the set is no longer known. Nothing may be pushed until it has been read again. */
  lookupLost(): void;
  /** One of the other methods has thrown, so nothing may be pushed any more. Never throws. */
  fail(error: unknown): void;
}

/**
 * The values under one path of the documents that match the filter, updated in the order of the changes. A value is in
 * the set as long as a document has it.
 */
export class LookupSet {
  readonly spec: LookupSpec;
  readonly namespace: string;
  readonly holders = new Set<LookupHolder>();
  readonly #matches: (document: Uint8Array) => boolean;
  readonly #pathValues: PathValues;
  /** Made when first needed, for large documents. */
  #matchesInSteps: ((document: Uint8Array) => Steps<boolean>) | undefined;
  /**
   * Whether a long commit may have changed the set, for commits that were judged in steps. All holders of the set ask
   * the same question about the same commit.
   */
  readonly #mayChange = new WeakMap<readonly StreamEvent[], boolean>();
  readonly #values = new Map<string, { readonly value: BsonValue; count: number }>();
  #bytes = 0;
  /** `null` until the values are asked for. */
  #list: readonly BsonValue[] | null = null;
  #sameSince = 0n;
  /** How often the set was loaded or has changed. A search with pauses detects a change by it. */
  #changes = 0;

  constructor(spec: LookupSpec) {
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    this.#matches = compileFilter(spec.filter);
    this.#pathValues = compilePathValues(spec.value);
  }

  /** The set has certainly not changed from this cluster time until now. */
  get sameSince(): bigint {
    return this.#sameSince;
  }

  get size(): number {
    return this.#values.size;
  }

  /** Size of the values, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** One array until the values change, so that everything that is made of the list is made once for all holders. */
  get values(): readonly BsonValue[] {
    this.#list ??= Array.from(this.#values.values(), ({ value }) => value);
    return this.#list;
  }

  /** Loads the matching documents as of one cluster time. The set must not be used before the last step. */
  *loadInSteps(documents: readonly Uint8Array[], clusterTime: bigint): Steps<void> {
    this.#values.clear();
    this.#bytes = 0;
    this.#list = null;
    this.#sameSince = clusterTime;
    this.#changes++;
    const pace = new StepPace();
    for (const document of documents) {
      for (const [key, value] of yield* this.#valuesInSteps(document)) {
        this.#count(key, value, 1);
        if (pace.isOver(0)) yield;
      }
      if (pace.isOver(document.length)) yield;
    }
  }

  /**
   * Computes the effect of a commit on the set without changing the set: while the search pauses, rights are judged by
   * the state before the commit. `advance` then applies the effect in one turn.
   * @param most With more values in one document, the outcome is `UNKNOWN`.
   * @returns `UNKNOWN` if an event lacks its images, or the collection was replaced.
   */
  *deltaOf(
    events: readonly StreamEvent[],
    most = Number.POSITIVE_INFINITY,
  ): Steps<LookupDelta | typeof UNKNOWN> {
    const delta = new Map<string, { readonly value: BsonValue; by: number }>();
    const pace = new StepPace();
    for (const event of events) {
      if (pace.isOver(imageBytesOf(event))) yield;
      if (event.namespace !== this.namespace) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) return UNKNOWN;
      for (const by of [-1, 1] as const) {
        const values = yield* this.#valuesInSteps(by < 0 ? event.before : event.after);
        if (values.size > most) return UNKNOWN;
        for (const [key, value] of values) {
          const known = delta.get(key);
          if (known === undefined) delta.set(key, { value, by });
          else if (known.by + by === 0) delta.delete(key);
          else known.by += by;
          if (pace.isOver(0)) yield;
        }
      }
    }
    return delta;
  }

  /** How many values the set will have after `advance`, and their size in bytes. */
  after(delta: LookupDelta): { readonly size: number; readonly bytes: number } {
    let [size, bytes] = [this.#values.size, this.#bytes];
    for (const [key, { value, by }] of delta) {
      const known = this.#values.get(key);
      const count = known?.count ?? 0;
      if (known !== undefined && count + by <= 0) {
        size--;
        bytes -= bytesOf(known.value);
      } else if (known === undefined && by > 0) {
        size++;
        bytes += bytesOf(value);
      }
    }
    return { size, bytes };
  }

  /**
   * Applies the effect of a commit, all of it in one turn, because rights must not be judged by half of a commit.
   * @returns Whether the set has other values now.
   */
  advance(delta: LookupDelta, clusterTime: bigint): boolean {
    let differs = false;
    for (const [key, { value, by }] of delta) {
      const wasThere = this.#values.has(key);
      this.#count(key, value, by);
      differs ||= this.#values.has(key) !== wasThere;
    }
    if (differs) {
      this.#sameSince = clusterTime;
      this.#changes++;
    }
    return differs;
  }

  /** Computes in steps what `mayChangeBy` returns for a long commit, and remembers it. */
  *judgeInSteps(events: readonly StreamEvent[]): Steps<void> {
    if (this.#mayChange.has(events)) return;
    const pace = new StepPace();
    let mayChange = false;
    for (const event of events) {
      mayChange = yield* this.#mayChangeByEvent(event);
      if (mayChange) break;
      if (pace.isOver(imageBytesOf(event))) yield;
    }
    this.#mayChange.set(events, mayChange);
  }

  /** Whether `traceBack` to this cluster time needs the entries of the history. */
  mustTrace(clusterTime: bigint): boolean {
    return this.#sameSince >= clusterTime;
  }

  /**
   * Searches the past for changes of the set, and remembers since when it has certainly not changed: after a failover
   * many clients resume at once, and only the first one has to search.
   * @param clusterTime The cluster time of the first entry, or an earlier one.
   * @param entriesSince Gives all entries since then; `null` if the history does not hold them all.
   * @returns Whether the set has not changed in these entries.
   */
  traceBack(clusterTime: bigint, entriesSince: () => readonly HistoryEntry[] | null): boolean {
    if (!this.mustTrace(clusterTime)) return true;
    const entries = entriesSince();
    return entries !== null && runThrough(this.traceInSteps(clusterTime, entries));
  }

  /**
   * Like `traceBack`, in steps. Ends early, with `false`, if the set changes during a pause. Earlier findings are
   * remembered.
   */
  *traceInSteps(clusterTime: bigint, entries: readonly HistoryEntry[]): Steps<boolean> {
    const pace = new StepPace();
    const changes = this.#changes;
    for (let index = lastUntil(entries, this.#sameSince); index >= 0; index--) {
      const { commit } = entries[index] as HistoryEntry; // `index` is one of it
      const mayChange = yield* this.#judge(commit.events);
      if (pace.isOver(commit.bytes)) yield;
      // A commit that changed the set during a pause is not among these entries.
      if (this.#changes !== changes) return false;
      if (commit.clusterTime < this.#sameSince) this.#sameSince = commit.clusterTime;
      if (mayChange) return false;
    }
    if (clusterTime < this.#sameSince) this.#sameSince = clusterTime;
    return true;
  }

  /** Like `mayChangeBy`, with pauses in a long commit. */
  *#judge(events: readonly StreamEvent[]): Steps<boolean> {
    if (isLong(events)) yield* this.judgeInSteps(events);
    return this.mayChangeBy(events);
  }

  /**
   * Whether events that the set has not counted may have changed it: a document enters, leaves, or has other values.
   */
  mayChangeBy(events: readonly StreamEvent[]): boolean {
    return this.#mayChange.get(events) ?? events.some((event) => runThrough(this.#mayChangeByEvent(event)));
  }

  *#mayChangeByEvent(event: StreamEvent): Steps<boolean> {
    if (event.namespace !== this.namespace) return false;
    if (event.operation === "replaced-collection" || !hasImages(event)) return true;
    const before = yield* this.#valuesInSteps(event.before);
    const after = yield* this.#valuesInSteps(event.after);
    return !(yield* haveSameKeys(before, after));
  }

  /** The values of one document, found with pauses if the document is large. */
  *#valuesInSteps(document: Uint8Array | undefined): Steps<Values> {
    if (document === undefined) return NO_VALUES;
    if (document.length <= SMALL_BYTES) return this.#valuesOf(document);
    this.#matchesInSteps ??= compileFilterInSteps(this.spec.filter);
    if (!(yield* this.#matchesInSteps(document))) return NO_VALUES;
    const values = new Map<string, BsonValue>();
    yield* this.#pathValues.visitInSteps(document, (value) => addTo(values, value));
    return values;
  }

  #valuesOf(document: Uint8Array): Values {
    if (!this.#matches(document)) return NO_VALUES;
    const values = new Map<string, BsonValue>();
    for (const value of this.#pathValues.of(document)) addTo(values, value);
    return values;
  }

  #count(key: string, value: BsonValue, by: number): void {
    const known = this.#values.get(key);
    const count = (known?.count ?? 0) + by;
    if (count > 0 && known !== undefined) {
      known.count = count;
      return;
    }
    if (count > 0) {
      this.#values.set(key, { value, count });
      this.#bytes += bytesOf(value);
    } else if (known !== undefined) {
      this.#values.delete(key);
      this.#bytes -= bytesOf(known.value);
    }
    this.#list = null;
  }
}

const bytesOf = ({ start, end }: BsonValue): number => end - start;

/**
 * Adds a value to those of one document. A value counts once per document. A value that cannot be part of a filter
 * (`isBindable`) is ignored.
 */
function addTo(values: Map<string, BsonValue>, value: BsonValue): void {
  if (isBindable(value)) values.set(valueKey(value), value);
}

function* haveSameKeys(a: Values, b: Values): Steps<boolean> {
  if (a.size !== b.size) return false;
  const pace = new StepPace();
  for (const key of a.keys()) {
    if (!b.has(key)) return false;
    if (pace.isOver(0)) yield;
  }
  return true;
}

/** The index of the last entry up to a cluster time; -1 if there is none. */
function lastUntil(entries: readonly HistoryEntry[], clusterTime: bigint): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle] as HistoryEntry).commit.clusterTime <= clusterTime) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
