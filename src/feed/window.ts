import type { BsonValue } from "../match/bson-value.ts";
import { compileSort, type Sort, type SortKey } from "../match/sort.ts";
import type { SortSpec } from "../protocol/messages.ts";
import type { Change } from "./change.ts";
import type { WindowMember } from "./result-state.ts";
import { type Touched, windowChanges } from "./window-changes.ts";

/** A document in the window: its key, and in the spare, while there is room, its content. */
interface WindowEntry extends WindowMember {
  readonly key: SortKey;
  document: Uint8Array | undefined;
}

/** The documents to read before the changes of a commit are known. */
export type Lacking = { readonly ids: readonly BsonValue[] } | "refill" | null;

/** Documents beyond the limit that are tracked, so that one that leaves has a successor at hand. */
export const spareFor = (limit: number): number => Math.min(200, Math.max(10, Math.ceil(limit / 4)));

/** Memory that the documents kept in the spare may take, in bytes. */
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
  #keyBytes = 0;
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

  /** Bytes of the keys, and of documents kept in the spare. */
  get heldBytes(): number {
    return this.#keyBytes + this.#spareBytes;
  }

  /** Takes the first documents of the result as they are in the database, in any order. Call `changes` or `settle` next. */
  load(documents: readonly Uint8Array[], keyOfId: (id: BsonValue) => string, isComplete: boolean): void {
    this.#entries = documents.map((document) => this.#entryOf(document, keyOfId));
    this.#entries.sort((a, b) => this.#sort.compare(a.key, b.key));
    this.#byId = new Map(this.#entries.map((entry) => [entry.id, entry]));
    this.#keyBytes = this.#entries.reduce((bytes, entry) => bytes + keyBytesOf(entry), 0);
    this.#isComplete = isComplete;
  }

  /** Takes a commit into account. Call `lacking` and then `changes` for its effect. */
  apply(touched: Touched, keyOfId: (id: BsonValue) => string): void {
    this.#before = this.#visible();
    const last = this.#entries.at(-1);
    for (const id of touched.keys()) this.#remove(id);
    for (const { document } of touched.values()) {
      if (document === undefined) continue;
      const entry = this.#entryOf(document, keyOfId);
      // The documents behind the last tracked one are unknown, unless there are none.
      const isTracked =
        this.#isComplete || (last !== undefined && this.#sort.compare(entry.key, last.key) < 0);
      if (isTracked) this.#insert(entry);
    }
    if (this.#entries.length > this.limit + this.#spare) {
      for (const entry of this.#entries.splice(this.limit + this.#spare)) this.#forget(entry);
      this.#isComplete = false;
    }
  }

  /** The documents that have to be read for the changes of the commit just applied. */
  lacking(touched: Touched): Lacking {
    if (this.#entries.length < this.limit && !this.#isComplete) return "refill";
    const known = new Set(this.#before.map((entry) => entry.id));
    const ids = this.#visible()
      .filter(({ id, document }) => !known.has(id) && document === undefined && !touched.has(id))
      .map(({ idValue }) => idValue);
    return ids.length === 0 ? null : { ids };
  }

  /**
   * The changes of the commit just applied.
   * @param read Documents that were lacking, by the key of their `_id`.
   */
  changes(touched: Touched, read: ReadonlyMap<string, Uint8Array>): Change[] {
    const documentOf = ({ id, document }: WindowEntry) => {
      const found = touched.get(id)?.document ?? document ?? read.get(id);
      if (found === undefined) throw new Error("a document that entered a window was not read");
      return found;
    };
    // A document that was not written was in the result before, and still is. It has only moved into sight or out of it.
    const causeOf = (id: string) => touched.get(id)?.cause ?? "window";
    const changes = windowChanges(this.#before, this.#visible(), touched, documentOf, causeOf);
    this.settle();
    return changes;
  }

  /** The visible documents, in order. */
  get visible(): readonly WindowMember[] {
    return this.#visible();
  }

  #visible(): WindowEntry[] {
    return this.#entries.slice(0, this.limit);
  }

  #entryOf(document: Uint8Array, keyOfId: (id: BsonValue) => string): WindowEntry {
    const key = this.#sort.key(document);
    const idValue = key[this.#idIndex] as BsonValue; // every key holds the `_id`
    return { id: keyOfId(idValue), idValue, key, document };
  }

  #insert(entry: WindowEntry): void {
    this.#entries.splice(this.#indexOf(entry.key), 0, entry);
    this.#byId.set(entry.id, entry);
    this.#keyBytes += keyBytesOf(entry);
  }

  #remove(id: string): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#entries.splice(this.#indexOf(entry.key), 1);
    this.#forget(entry);
  }

  #forget(entry: WindowEntry): void {
    this.#byId.delete(entry.id);
    this.#keyBytes -= keyBytesOf(entry);
  }

  /** The index of a key, or the index where it would be inserted. */
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

  /** Keeps the keys, and documents only in the spare: clients hold the visible documents already. */
  settle(): void {
    let bytes = 0;
    for (const [index, entry] of this.#entries.entries()) {
      const { document } = entry;
      if (document === undefined) continue;
      const isKept = index >= this.limit && bytes + document.length <= SPARE_BYTES_MAX;
      entry.document = isKept ? alone(document) : undefined;
      if (isKept) bytes += document.length;
    }
    this.#spareBytes = bytes;
  }
}

/** All values of a key lie in one array. */
const keyBytesOf = ({ key }: WindowEntry) => key[0]?.bytes.length ?? 0;

/** The document without what was sent with it: a part of an answer would keep all of the answer in memory. */
function alone(document: Uint8Array): Uint8Array {
  return document.buffer.byteLength === document.byteLength ? document : new Uint8Array(document);
}
