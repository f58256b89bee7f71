/**
 * Tracks the first documents of a sorted result by their sort keys. Keeping only the visible documents would require a
 * read for each one that leaves, so some documents beyond the limit are tracked as a reserve.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { runThrough, StepPace, type Steps } from "../match/steps.ts";
import type { Change } from "./change.ts";
import type { WindowMember } from "./result-state.ts";
import { type ListWork, SortedList } from "./sorted-list.ts";
import { type Touched, windowChanges } from "./window-changes.ts";
import { keyBytesOf, type WindowEntries, type WindowEntry } from "./window-entries.ts";
import { type RankedEntry, WindowStep } from "./window-step.ts";

/** The documents that must be read before the changes of a commit are known. */
export type Lacking = { readonly ids: readonly BsonValue[] } | "refill" | null;

/** How many documents beyond the limit are tracked, so that a document that leaves has a known successor. */
export const spareFor = (limit: number): number => Math.min(200, Math.max(10, Math.ceil(limit / 4)));

/**
 * Each entry that is found, inserted or removed counts as this many bytes, so that a pause is offered after some
 * hundreds.
 */
const ENTRY_STEP_BYTES = 256;

/** Memory for the documents kept beyond the limit, in bytes. */
const SPARE_BYTES_MAX = 65_536;

/**
 * The first documents of a sorted result, by their keys. Some more are tracked beyond the limit. The result may
 * continue after the last of them, unless it is known to be complete. The cost of a commit is the number of documents
 * that it touches, times the logarithm of the size.
 */
export class Window {
  readonly limit: number;
  readonly #spare: number;
  readonly #entries: WindowEntries;
  readonly #list: SortedList<WindowEntry>;
  readonly #byId = new Map<string, WindowEntry>();
  /** Whether the list contains the whole result. Otherwise documents after the last tracked one are unknown. */
  #isComplete = true;
  /** The commit in progress. */
  #step: WindowStep<WindowEntry> | null = null;
  /** The visible documents before the current commit, if the window was loaded again for it. */
  #before: readonly WindowEntry[] | null = null;
  /** Computed on first use. */
  #visible: readonly WindowEntry[] | null = null;
  #keyBytes = 0;
  #spareBytes = 0;

  /**
   * @param limit `null` for a sorted result without a limit, which is tracked completely.
   * @param work Counts the work of the list.
   */
  constructor(entries: WindowEntries, limit: number | null, work?: ListWork) {
    this.limit = limit ?? Number.POSITIVE_INFINITY;
    this.#spare = limit === null ? 0 : spareFor(limit);
    this.#entries = entries;
    this.#list = new SortedList(entries.compare, work);
  }

  /** The number of tracked documents. */
  get size(): number {
    return this.#list.size;
  }

  /** Bytes of the keys, and of documents kept beyond the limit. */
  get heldBytes(): number {
    return this.#keyBytes + this.#spareBytes;
  }

  /** The visible documents, in order. The array is the same until the next commit. */
  get visible(): readonly WindowMember[] {
    this.#visible ??= this.#list.slice(0, this.limit);
    return this.#visible;
  }

  /** Takes the first documents of the result from the database, in any order. Call `changes` or `settle` next. */
  load(documents: readonly Uint8Array[], isComplete: boolean): void {
    this.#before = this.#step?.visibleBefore() ?? null;
    this.#visible = null;
    this.#byId.clear();
    this.#keyBytes = 0;
    const entries = documents.map((document) => this.#entries.of(document));
    for (const entry of entries) this.#remember(entry);
    this.#list.load(entries);
    this.#isComplete = isComplete;
  }

  /** Applies a commit. Call `lacking` and then `changes` for its effect. */
  apply(touched: Touched): void {
    runThrough(this.applyInSteps(touched));
  }

  /** Like `apply`, with pauses. Other methods must not be called before the end. */
  *applyInSteps(touched: Touched): Steps<void> {
    const pace = new StepPace();
    const visibleBefore = Math.min(this.limit, this.size);
    const { last } = this.#list;
    const were = yield* this.#ranked(touched, pace);
    this.#visible = null;
    for (const { entry } of were) {
      this.#list.remove(entry);
      this.#forget(entry);
      if (pace.isOver(ENTRY_STEP_BYTES)) yield;
    }
    for (const { document } of touched.values()) {
      if (document === undefined) continue;
      if (pace.isOver(document.length)) yield;
      const entry = this.#entries.of(document);
      // The documents after the last tracked one are unknown, unless the list is complete.
      const isTracked = this.#isComplete || (last !== undefined && this.#entries.compare(entry, last) < 0);
      if (!isTracked) continue;
      this.#list.insert(entry);
      this.#remember(entry);
    }
    const dropped = this.#list.slice(this.limit + this.#spare);
    for (const entry of dropped) {
      this.#list.remove(entry);
      this.#forget(entry);
      this.#isComplete = false;
      if (pace.isOver(ENTRY_STEP_BYTES)) yield;
    }
    const are = yield* this.#ranked(touched, pace);
    const { limit } = this;
    this.#step = new WindowStep({ touched, limit, visibleBefore, were, are, list: this.#list, dropped });
    this.#before = null;
  }

  /** The documents that must be read for the changes of the last commit. */
  lacking(): Lacking {
    if (this.size < this.limit && !this.#isComplete) return "refill";
    const entered = this.#step?.entered ?? [];
    const ids = entered.flatMap(({ entry }) => (entry.document === undefined ? [entry.idValue] : []));
    return ids.length === 0 ? null : { ids };
  }

  /**
   * The changes of the last commit, with pauses. Other methods must not be called before the end.
   * @param read Documents that were lacking, by the key of their `_id`.
   */
  *changes(read: ReadonlyMap<string, Uint8Array>): Steps<Change[]> {
    const step = this.#step;
    if (step === null) return [];
    const { touched } = step;
    const documentOf = ({ id, document }: WindowEntry) => {
      const found = touched.get(id)?.document ?? document ?? read.get(id);
      if (found === undefined) throw new Error("a document that entered a window was not read");
      return found;
    };
    // A document that was not written was in the result before, and still is. It has only become visible or invisible.
    const causeOf = (id: string) => touched.get(id)?.cause ?? "window";
    const changes =
      this.#before === null
        ? yield* step.changes(documentOf)
        : yield* windowChanges(this.#before, this.#list.slice(0, this.limit), touched, documentOf, causeOf);
    this.settle();
    return changes;
  }

  /**
   * Drops the content of visible documents, because clients have it already. Beyond the limit it is kept if there is
   * room.
   */
  settle(): void {
    const step = this.#before === null ? this.#step : null;
    for (const entry of step?.shown ?? this.#list.slice(0, this.limit)) entry.document = undefined;
    if (step?.concernsSpare ?? true) this.#settleSpare();
    this.#step = null;
    this.#before = null;
  }

  #settleSpare(): void {
    let bytes = 0;
    for (const entry of this.#list.slice(this.limit)) {
      const { document } = entry;
      if (document === undefined) continue;
      const isKept = bytes + document.length <= SPARE_BYTES_MAX;
      entry.document = isKept ? alone(document) : undefined;
      if (isKept) bytes += document.length;
    }
    this.#spareBytes = bytes;
  }

  /** Those of the touched documents that are tracked, in order. */
  *#ranked(touched: Touched, pace: StepPace): Steps<RankedEntry<WindowEntry>[]> {
    const ranked: RankedEntry<WindowEntry>[] = [];
    for (const id of touched.keys()) {
      const entry = this.#byId.get(id);
      if (entry === undefined) continue;
      ranked.push({ rank: this.#list.indexOf(entry), entry });
      if (pace.isOver(ENTRY_STEP_BYTES)) yield;
    }
    return ranked.sort((a, b) => a.rank - b.rank);
  }

  #remember(entry: WindowEntry): void {
    this.#byId.set(entry.id, entry);
    this.#keyBytes += keyBytesOf(entry);
  }

  #forget(entry: WindowEntry): void {
    this.#byId.delete(entry.id);
    this.#keyBytes -= keyBytesOf(entry);
  }
}

/** Copies a document that shares its buffer with others, because the slice would keep the whole buffer in memory. */
function alone(document: Uint8Array): Uint8Array {
  return document.buffer.byteLength === document.byteLength ? document : new Uint8Array(document);
}
