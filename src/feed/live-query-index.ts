import { compileEqualityKeys } from "../match/equality-keys.ts";
import type { Filter, Predicate } from "../match/filter.ts";
import { valueKey } from "../match/value-key.ts";
import { hasImages, type StreamEvent } from "../source/change-event.ts";
import type { LiveQuery } from "./live-query.ts";

/** What a document must have to match at all: at this path, one of these values. */
export interface Anchor {
  readonly path: string;
  /** Keys of the values (`valueKey`). */
  readonly keys: readonly string[];
}

/** A longer `$in` would make the index larger than the scan it spares. */
const ANCHOR_KEYS_MAX = 256;

/**
 * The anchor of a filter: an equality or `$in` that every match has to fulfil, the one with the fewest values.
 * `null` where there is none, as in `{ n: { $gt: 3 } }`.
 */
export function anchorOf(filter: Filter): Anchor | null {
  if (filter.op === "path") return anchorOfPredicate(filter.path, filter.predicate);
  if (filter.op !== "$and") return null;
  let best: Anchor | null = null;
  for (const part of filter.filters) {
    const anchor = anchorOf(part);
    if (anchor !== null && (best === null || anchor.keys.length < best.keys.length)) best = anchor;
  }
  return best;
}

function anchorOfPredicate(path: string, predicate: Predicate): Anchor | null {
  if (predicate.op === "$eq") return { path, keys: [valueKey(predicate.value)] };
  if (predicate.op !== "$in" || predicate.values.length > ANCHOR_KEYS_MAX) return null;
  return { path, keys: [...new Set(predicate.values.map(valueKey))] };
}

interface PathIndex {
  readonly keysOf: (document: Uint8Array) => ReadonlySet<string>;
  readonly byKey: Map<string, Set<LiveQuery>>;
}

/**
 * The live queries of one collection, found by what a change event holds: its cost follows the number of those
 * that may match, not the number of all. Claims are constants in their filters, so a rule for each user is just an
 * equality.
 */
export class LiveQueryIndex {
  readonly #all = new Set<LiveQuery>();
  readonly #paths = new Map<string, PathIndex>();
  /** Without an anchor: looked at for every event. */
  readonly #rest = new Set<LiveQuery>();

  get size(): number {
    return this.#all.size;
  }

  add(liveQuery: LiveQuery): void {
    this.#all.add(liveQuery);
    const anchor = anchorOf(liveQuery.spec.filter);
    if (anchor === null) {
      this.#rest.add(liveQuery);
      return;
    }
    let index = this.#paths.get(anchor.path);
    if (index === undefined) {
      index = { keysOf: compileEqualityKeys(anchor.path), byKey: new Map() };
      this.#paths.set(anchor.path, index);
    }
    for (const key of anchor.keys) {
      const liveQueries = index.byKey.get(key);
      if (liveQueries === undefined) index.byKey.set(key, new Set([liveQuery]));
      else liveQueries.add(liveQuery);
    }
  }

  remove(liveQuery: LiveQuery): void {
    this.#all.delete(liveQuery);
    this.#rest.delete(liveQuery);
    const anchor = anchorOf(liveQuery.spec.filter);
    const index = anchor === null ? undefined : this.#paths.get(anchor.path);
    if (anchor === null || index === undefined) return;
    for (const key of anchor.keys) {
      const liveQueries = index.byKey.get(key);
      liveQueries?.delete(liveQuery);
      if (liveQueries?.size === 0) index.byKey.delete(key);
    }
    if (index.byKey.size === 0) this.#paths.delete(anchor.path);
  }

  /** All live queries that some of these events, all of this collection, may concern. */
  candidates(events: readonly StreamEvent[]): ReadonlySet<LiveQuery> {
    const found = new Set(this.#rest);
    for (const event of events) {
      if (event.operation === "replaced-collection" || !hasImages(event)) return this.#all;
      for (const { keysOf, byKey } of this.#paths.values()) {
        if (event.before !== undefined) collect(keysOf(event.before), byKey, found);
        if (event.after !== undefined) collect(keysOf(event.after), byKey, found);
      }
    }
    return found;
  }
}

function collect(
  keys: ReadonlySet<string>,
  byKey: ReadonlyMap<string, ReadonlySet<LiveQuery>>,
  found: Set<LiveQuery>,
): void {
  for (const key of keys) {
    for (const liveQuery of byKey.get(key) ?? []) found.add(liveQuery);
  }
}
