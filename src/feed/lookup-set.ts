import { isBindable } from "../match/bind-filter.ts";
import type { BsonValue } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter } from "../match/filter.ts";
import { compilePathValues } from "../match/path-values.ts";
import { valueKey } from "../match/value-key.ts";
import { type Commit, hasImages, type StreamEvent } from "../source/change-event.ts";
import { UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";

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
  readonly #valuesOf: (document: Uint8Array) => BsonValue[];
  readonly #values = new Map<string, { readonly value: BsonValue; count: number }>();
  #sameSince = 0n;

  constructor(spec: LookupSpec) {
    this.spec = spec;
    this.namespace = `${spec.database}.${spec.collectionName}`;
    this.#matches = compileFilter(spec.filter);
    this.#valuesOf = compilePathValues(spec.value);
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

  /** Takes the matching documents as they are at one cluster time. */
  load(documents: readonly Uint8Array[], clusterTime: bigint): void {
    this.#values.clear();
    this.#sameSince = clusterTime;
    for (const document of documents) this.#count(document, 1);
  }

  /** Takes a commit into account. @returns Whether the set has changed; `UNKNOWN` where the events do not tell. */
  apply({ clusterTime, events }: Pick<Commit, "clusterTime" | "events">): boolean | typeof UNKNOWN {
    /** Which of the values that are counted here were in the set before. */
    const before = new Map<string, boolean>();
    for (const event of events) {
      if (event.namespace !== this.namespace) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) return UNKNOWN;
      if (event.before !== undefined && this.#matches(event.before)) this.#count(event.before, -1, before);
      if (event.after !== undefined && this.#matches(event.after)) this.#count(event.after, 1, before);
    }
    const differs = [...before].some(([key, wasThere]) => this.#values.has(key) !== wasThere);
    if (differs) this.#sameSince = clusterTime;
    return differs;
  }

  /**
   * Looks back for changes of the set, and remembers how far it is known not to have changed: many clients resume at once,
   * and the next one need not look again.
   * @param clusterTime That of the first entry or earlier.
   * @param entriesSince All entries since then; `null` where they are no longer known.
   * @returns Whether the set has not changed in these entries.
   */
  traceBack(clusterTime: bigint, entriesSince: () => readonly HistoryEntry[] | null): boolean {
    if (this.#sameSince < clusterTime) return true;
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
      return this.#keysOf(event.before).join() !== this.#keysOf(event.after).join();
    });
  }

  /** The keys of what a document gives to the set, in order. */
  #keysOf(document: Uint8Array | undefined): string[] {
    if (document === undefined || !this.#matches(document)) return [];
    return [...this.#bindable(document).keys()].sort();
  }

  /** A value that one document has twice counts once; one that `find` would not take as a value, not at all. */
  #bindable(document: Uint8Array): Map<string, BsonValue> {
    return new Map(
      this.#valuesOf(document)
        .filter(isBindable)
        .map((value) => [valueKey(value), value]),
    );
  }

  #count(document: Uint8Array, by: 1 | -1, before?: Map<string, boolean>): void {
    for (const [key, value] of this.#bindable(document)) {
      const known = this.#values.get(key);
      if (before?.has(key) === false) before.set(key, known !== undefined);
      const count = (known?.count ?? 0) + by;
      if (count <= 0) this.#values.delete(key);
      else if (known === undefined) this.#values.set(key, { value, count });
      else known.count = count;
    }
  }
}
