import { isBindable } from "../match/bind-filter.ts";
import type { BsonValue } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter } from "../match/filter.ts";
import { compileFilterInSteps } from "../match/filter-steps.ts";
import { compilePathValues, type PathValues } from "../match/path-values.ts";
import { runThrough, SMALL_BYTES, StepPace, type Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import { type Commit, hasImages, type StreamEvent } from "../source/change-event.ts";
import { UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import { imageBytesOf } from "./pieces.ts";

/** Values by their keys. */
type Values = ReadonlyMap<string, BsonValue>;

const NO_VALUES: Values = new Map();

/** The values of large documents, found in steps. */
export type PreparedValues = Map<Uint8Array, Values>;

/** The definition of a set; the claims are filled in already. */
export interface LookupSpec {
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  /** The path whose values make the set. */
  readonly value: string;
}

/** A holder has rights that a set decides. */
export interface LookupHolder {
  /**
   * The set changes with this commit. Called before anything else reacts to the commit, so that a subscription whose
   * rights are withdrawn is silent before the next change.
   */
  lookupChanged(at: HistoryEntry): void;
  /** The content of the set is no longer known: until it has been read again, nothing may be pushed. */
  lookupLost(): void;
  /** One of the other methods has thrown: nothing may be pushed any more. Never throws. */
  fail(error: unknown): void;
}

/**
 * The values under one path of the documents that match, kept up with the order of changes. A value counts as long
 * as some document has it.
 */
export class LookupSet {
  readonly spec: LookupSpec;
  readonly namespace: string;
  readonly holders = new Set<LookupHolder>();
  readonly #matches: (document: Uint8Array) => boolean;
  readonly #pathValues: PathValues;
  /** Made when first needed, for large documents. */
  #matchesInSteps: ((document: Uint8Array) => Steps<boolean>) | undefined;
  /** Whether events with large documents may change the set. */
  readonly #mayChange = new WeakMap<StreamEvent, boolean>();
  readonly #values = new Map<string, { readonly value: BsonValue; count: number }>();
  #sameSince = 0n;

  constructor(spec: LookupSpec) {
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    this.#matches = compileFilter(spec.filter);
    this.#pathValues = compilePathValues(spec.value);
  }

  /** The set is known not to have changed from this cluster time until now. */
  get sameSince(): bigint {
    return this.#sameSince;
  }

  get size(): number {
    return this.#values.size;
  }

  get values(): BsonValue[] {
    return [...this.#values.values()].map(({ value }) => value);
  }

  /** Takes the matching documents as they are at one cluster time. @param prepared See `prepareDocuments`. */
  load(documents: readonly Uint8Array[], clusterTime: bigint, prepared?: PreparedValues): void {
    this.#values.clear();
    this.#sameSince = clusterTime;
    for (const document of documents) this.#count(this.#valuesOf(document, prepared), 1);
  }

  /** Finds the values of large documents in steps, for `load`. */
  *prepareDocuments(documents: readonly Uint8Array[], prepared: PreparedValues): Steps<void> {
    for (const document of documents) {
      if (document.length > SMALL_BYTES) prepared.set(document, yield* this.#valuesInSteps(document));
    }
  }

  /**
   * Finds the values of the large documents of a commit in steps, for `apply` and `mayChangeBy`.
   * @param most With more values in one document, the outcome is `UNKNOWN`.
   */
  *prepareInSteps(
    events: readonly StreamEvent[],
    prepared: PreparedValues,
    most = Number.POSITIVE_INFINITY,
  ): Steps<typeof UNKNOWN | undefined> {
    for (const event of events) {
      if (event.namespace !== this.namespace || imageBytesOf(event) <= SMALL_BYTES) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) continue;
      for (const document of [event.before, event.after]) {
        if (document === undefined || prepared.has(document)) continue;
        const values = yield* this.#valuesInSteps(document);
        if (values.size > most) return UNKNOWN;
        prepared.set(document, values);
        yield;
      }
      if (this.#mayChange.has(event)) continue;
      const [before, after] = [event.before, event.after].map(
        (document) => (document && prepared.get(document)) ?? NO_VALUES,
      );
      this.#mayChange.set(event, !(yield* haveSameKeys(before ?? NO_VALUES, after ?? NO_VALUES)));
    }
    return undefined;
  }

  /**
   * Takes a commit into account.
   * @param prepared See `prepareInSteps`.
   * @returns Whether the set has changed; `UNKNOWN` where the events do not tell.
   */
  apply(
    { clusterTime, events }: Pick<Commit, "clusterTime" | "events">,
    prepared?: PreparedValues,
  ): boolean | typeof UNKNOWN {
    /** Which of the values that are counted here were in the set before. */
    const before = new Map<string, boolean>();
    for (const event of events) {
      if (event.namespace !== this.namespace) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) return UNKNOWN;
      this.#count(this.#valuesOf(event.before, prepared), -1, before);
      this.#count(this.#valuesOf(event.after, prepared), 1, before);
    }
    const differs = [...before].some(([key, wasThere]) => this.#values.has(key) !== wasThere);
    if (differs) this.#sameSince = clusterTime;
    return differs;
  }

  /** Whether `traceBack` to this cluster time would look at the entries. */
  mustTrace(clusterTime: bigint): boolean {
    return this.#sameSince >= clusterTime;
  }

  /**
   * Looks back for changes of the set, and remembers how far it is known not to have changed: many clients resume at once,
   * and the next one need not look again.
   * @param clusterTime That of the first entry or earlier.
   * @param entriesSince All entries since then; `null` where they are no longer known.
   * @returns Whether the set has not changed in these entries.
   */
  traceBack(clusterTime: bigint, entriesSince: () => readonly HistoryEntry[] | null): boolean {
    if (!this.mustTrace(clusterTime)) return true;
    const entries = entriesSince();
    if (entries === null) return false;
    const last = entries.findLast(({ commit }) => this.mayChangeBy(commit.events));
    this.#sameSince = last?.commit.clusterTime ?? clusterTime;
    return last === undefined;
  }

  /** Whether events that the set has not counted may have changed it: a document comes in, goes, or has other values. */
  mayChangeBy(events: readonly StreamEvent[]): boolean {
    return events.some((event) => {
      if (event.namespace !== this.namespace) return false;
      if (event.operation === "replaced-collection" || !hasImages(event)) return true;
      const known = imageBytesOf(event) > SMALL_BYTES ? this.#mayChange.get(event) : undefined;
      return known ?? !runThrough(haveSameKeys(this.#valuesOf(event.before), this.#valuesOf(event.after)));
    });
  }

  /** The values that a document gives to the set. */
  #valuesOf(document: Uint8Array | undefined, prepared?: PreparedValues): Values {
    if (document === undefined) return NO_VALUES;
    const known = prepared?.get(document);
    if (known !== undefined) return known;
    if (!this.#matches(document)) return NO_VALUES;
    const values = new Map<string, BsonValue>();
    for (const value of this.#pathValues.of(document)) addTo(values, value);
    return values;
  }

  *#valuesInSteps(document: Uint8Array): Steps<Values> {
    this.#matchesInSteps ??= compileFilterInSteps(this.spec.filter);
    if (!(yield* this.#matchesInSteps(document))) return NO_VALUES;
    const values = new Map<string, BsonValue>();
    yield* this.#pathValues.visitInSteps(document, (value) => addTo(values, value));
    return values;
  }

  #count(values: Values, by: 1 | -1, before?: Map<string, boolean>): void {
    for (const [key, value] of values) {
      const known = this.#values.get(key);
      if (before?.has(key) === false) before.set(key, known !== undefined);
      const count = (known?.count ?? 0) + by;
      if (count <= 0) this.#values.delete(key);
      else if (known === undefined) this.#values.set(key, { value, count });
      else known.count = count;
    }
  }
}

/** A value that one document has twice counts once; one that `find` would not take as a value, not at all. */
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
