import type { BsonValue } from "../match/bson-value.ts";
import { compileSort, type Sort, type SortKey } from "../match/sort.ts";
import type { Cause, SortSpec } from "../protocol/messages.ts";
import type { Change } from "./change.ts";

/** A document's place, and what the window keeps of it: its key, and in the spare, while there is room, the document. */
interface WindowEntry {
  readonly id: string;
  readonly key: SortKey;
  document: Uint8Array | undefined;
}

/** What a commit did to one document of the result. */
export interface TouchedDocument {
  readonly cause: Cause;
  readonly documentKey: Uint8Array;
  /** Before the commit; absent where it was not in the result. */
  readonly previous: Uint8Array | undefined;
  /** After it; absent where it is not in the result any more. */
  readonly document: Uint8Array | undefined;
  /** A visible field differs. */
  readonly isVisiblyChanged: boolean;
}

/** What is to be read before the changes of a commit can be told. */
export type Lacking = { readonly ids: readonly BsonValue[] } | "refill" | null;

/** Documents beyond the limit that are tracked, so that one that leaves has a successor at hand. */
export const spareFor = (limit: number): number => Math.min(200, Math.max(10, Math.ceil(limit / 4)));

/** What the documents kept in the spare may take, in bytes. */
const SPARE_BYTES_MAX = 65_536;

/**
 * The first documents of a sorted result, by their keys. Beyond the limit some more are tracked; the result may
 * go on behind the last of them, unless it is known to be complete.
 */
export class Window {
  readonly limit: number;
  readonly #spare: number;
  readonly #sort: Sort;
  readonly #idIndex: number;
  #entries: WindowEntry[] = [];
  #byId = new Map<string, WindowEntry>();
  #isComplete = true;
  /** The visible entries before the commit at hand. */
  #before: readonly WindowEntry[] = [];
  #spareBytes = 0;

  /** @param limit `null` for a sorted result without a limit: then all of it is tracked. */
  constructor(sort: SortSpec, limit: number | null) {
    this.limit = limit ?? Number.POSITIVE_INFINITY;
    this.#spare = limit === null ? 0 : spareFor(limit);
    this.#sort = compileSort(sort);
    // Keys end with the `_id` unless it is sorted by already.
    const own = sort.findIndex(([path]) => path === "_id");
    this.#idIndex = own < 0 ? sort.length : own;
  }

  /** How many documents are tracked. */
  get size(): number {
    return this.#entries.length;
  }

  /** Takes the first documents of the result as they are in the database, in any order; then tell `changes` or `settle`. */
  load(documents: readonly Uint8Array[], keyOfId: (id: BsonValue) => string, isComplete: boolean): void {
    this.#entries = documents.map((document) => this.#entryOf(document, keyOfId));
    this.#entries.sort((a, b) => this.#sort.compare(a.key, b.key));
    this.#byId = new Map(this.#entries.map((entry) => [entry.id, entry]));
    this.#isComplete = isComplete;
  }

  /** Takes a commit into account; afterwards `lacking` and then `changes` tell what it did. */
  apply(touched: ReadonlyMap<string, TouchedDocument>, keyOfId: (id: BsonValue) => string): void {
    this.#before = this.#visible();
    const last = this.#entries.at(-1);
    for (const id of touched.keys()) this.#remove(id);
    for (const { document } of touched.values()) {
      if (document === undefined) continue;
      const entry = this.#entryOf(document, keyOfId);
      // Behind the last tracked one lies what is not known, unless there is nothing.
      const isTracked =
        this.#isComplete || (last !== undefined && this.#sort.compare(entry.key, last.key) < 0);
      if (isTracked) this.#insert(entry);
    }
    if (this.#entries.length > this.limit + this.#spare) {
      for (const entry of this.#entries.splice(this.limit + this.#spare)) this.#byId.delete(entry.id);
      this.#isComplete = false;
    }
  }

  /** What has to be read to tell the changes of the commit just applied. */
  lacking(touched: ReadonlyMap<string, TouchedDocument>): Lacking {
    if (this.#entries.length < this.limit && !this.#isComplete) return "refill";
    const known = new Set(this.#before.map((entry) => entry.id));
    const ids = this.#visible()
      .filter(({ id, document }) => !known.has(id) && document === undefined && !touched.has(id))
      .map(({ key }) => key[this.#idIndex] as BsonValue); // every key holds the `_id`
    return ids.length === 0 ? null : { ids };
  }

  /**
   * The changes of the commit just applied: what left first, then, from the end to the front, what has come or
   * moved, so that the document each one is put before stands there already.
   * @param read Documents that were lacking, by the key of their `_id`.
   */
  changes(touched: ReadonlyMap<string, TouchedDocument>, read: ReadonlyMap<string, Uint8Array>): Change[] {
    const before = this.#before;
    const after = this.#visible();
    const isIn = new Set(after.map((entry) => entry.id));
    const was = new Set(before.map((entry) => entry.id));
    const changes: Change[] = [];
    for (const { id, key } of before) {
      if (isIn.has(id)) continue;
      const cause = touched.get(id)?.cause ?? "window";
      changes.push({ type: "removed", cause, id: key[this.#idIndex] as BsonValue });
    }
    const moved = movedIds(before, after, touched);
    for (let index = after.length - 1; index >= 0; index--) {
      const entry = after[index] as WindowEntry; // the index is in range
      const place = after[index + 1]?.key[this.#idIndex] ?? null;
      const touch = touched.get(entry.id);
      if (!was.has(entry.id)) {
        const document = touch?.document ?? entry.document ?? read.get(entry.id);
        if (document === undefined) throw new Error("a document that entered a window was not read");
        // One that was in the result already has only moved into sight.
        const cause = touch === undefined ? "window" : touch.cause;
        changes.push({ type: "added", cause, document, place });
      } else if (touch?.document !== undefined && (touch.isVisiblyChanged || moved.has(entry.id))) {
        const { cause, document, previous = document } = touch;
        changes.push({ type: "changed", cause, document, previous, place });
      }
    }
    this.settle();
    return changes;
  }

  #visible(): WindowEntry[] {
    return this.#entries.slice(0, this.limit);
  }

  #entryOf(document: Uint8Array, keyOfId: (id: BsonValue) => string): WindowEntry {
    const key = this.#sort.key(document);
    return { id: keyOfId(key[this.#idIndex] as BsonValue), key, document };
  }

  #insert(entry: WindowEntry): void {
    this.#entries.splice(this.#indexOf(entry.key), 0, entry);
    this.#byId.set(entry.id, entry);
  }

  #remove(id: string): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#entries.splice(this.#indexOf(entry.key), 1);
    this.#byId.delete(id);
  }

  /** Where a key stands, or would stand. */
  #indexOf(key: SortKey): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle];
      if (entry !== undefined && this.#sort.compare(entry.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Keys are kept, documents only in the spare: what is in sight the clients hold already. */
  settle(): void {
    let bytes = 0;
    for (const [index, entry] of this.#entries.entries()) {
      if (entry.document === undefined) continue;
      bytes += index < this.limit ? 0 : entry.document.length;
      if (index < this.limit || bytes > SPARE_BYTES_MAX) entry.document = undefined;
    }
    this.#spareBytes = bytes;
  }

  /** Bytes of documents kept in the spare. */
  get spareBytes(): number {
    return this.#spareBytes;
  }
}

/**
 * Which touched documents have to be put in their place anew. Untouched ones keep their order among themselves,
 * so a touched one has stayed if it lies between the same two of them, in the same company.
 */
function movedIds(
  before: readonly WindowEntry[],
  after: readonly WindowEntry[],
  touched: ReadonlyMap<string, TouchedDocument>,
): Set<string> {
  const stays = new Set(before.map((entry) => entry.id));
  const common = new Set(after.filter((entry) => stays.has(entry.id)).map((entry) => entry.id));
  const gapsBefore = gapsOf(before, common, touched);
  const gapsAfter = gapsOf(after, common, touched);
  const moved = new Set<string>();
  for (const [anchor, ids] of gapsAfter) {
    const were = gapsBefore.get(anchor) ?? [];
    if (ids.length === were.length && ids.every((id, index) => id === were[index])) continue;
    for (const id of ids) moved.add(id);
  }
  return moved;
}

/** The touched documents in common, by the untouched one that they follow. */
function gapsOf(
  entries: readonly WindowEntry[],
  common: ReadonlySet<string>,
  touched: ReadonlyMap<string, TouchedDocument>,
): Map<string | null, string[]> {
  const gaps = new Map<string | null, string[]>();
  let anchor: string | null = null;
  for (const { id } of entries) {
    if (!common.has(id)) continue;
    if (!touched.has(id)) {
      anchor = id;
      continue;
    }
    const ids = gaps.get(anchor);
    if (ids === undefined) gaps.set(anchor, [id]);
    else ids.push(id);
  }
  return gaps;
}
