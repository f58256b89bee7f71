/**
 * Computes the sort keys of documents. A key is computed once per document and write, because comparing raw documents
 * again and again would dominate the cost of large windows.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { compileSort, type Sort, type SortKey } from "../match/sort.ts";
import { SMALL_BYTES, type Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import type { SortSpec } from "../protocol/messages.ts";
import type { WindowMember } from "./result-state.ts";
import type { Touched } from "./window-changes.ts";

/** A document in a window: its key, and its content if it is beyond the limit and there is room. */
export interface WindowEntry extends WindowMember {
  readonly key: SortKey;
  document: Uint8Array | undefined;
}

/** How many documents get their keys before the event loop runs other work. */
const STEP_DOCUMENTS = 100;

/** Makes the entries of the windows of one live query, and orders them. */
export class WindowEntries {
  readonly #sort: Sort;
  readonly #idIndex: number;
  readonly #prepared = new WeakMap<Uint8Array, WindowEntry>();

  constructor(sort: SortSpec) {
    this.#sort = compileSort(sort);
    // Keys end with the `_id`, unless it is part of the sort already.
    const own = sort.findIndex(([path]) => path === "_id");
    this.#idIndex = own < 0 ? sort.length : own;
  }

  readonly compare = (a: WindowEntry, b: WindowEntry): number => this.#sort.compare(a.key, b.key);

  /** The entry of a document that entered the result; a new one on each call. */
  of(document: Uint8Array): WindowEntry {
    const prepared = this.#prepared.get(document);
    if (prepared === undefined) return this.#make(document);
    this.#prepared.delete(document);
    return prepared;
  }

  /** Makes the entries of many documents with pauses, so that `of` is cheap for each of them. */
  *prepareInSteps(documents: readonly Uint8Array[]): Steps<void> {
    for (const [index, document] of documents.entries()) {
      if (document.length > SMALL_BYTES) yield* this.#prepareLarge(document);
      else this.#prepared.set(document, this.#make(document));
      if ((index + 1) % STEP_DOCUMENTS === 0) yield;
    }
  }

  /** Like `prepareInSteps`, for those documents of a commit that take more than one step. */
  *prepareTouched(touched: Touched): Steps<void> {
    for (const { document } of touched.values())
      if (document !== undefined && document.length > SMALL_BYTES) yield* this.#prepareLarge(document);
  }

  *#prepareLarge(document: Uint8Array): Steps<void> {
    this.#prepared.set(document, this.#make(document, yield* this.#sort.keyInSteps(document)));
    yield;
  }

  #make(document: Uint8Array, key = this.#sort.key(document)): WindowEntry {
    const idValue = key[this.#idIndex] as BsonValue; // every key contains the `_id`
    return { id: valueKey(idValue), idValue, key, document };
  }
}

/** All values of a key are in one array. */
export const keyBytesOf = ({ key }: WindowEntry): number => key[0]?.bytes.length ?? 0;
