/**
 * Computes the changes that one commit makes to a window. Comparing the whole window before and after would cost its
 * size for every commit, so the computation uses only the documents that the commit touched.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { StepPace, type Steps } from "../match/steps.ts";
import type { Change } from "./change.ts";
import type { WindowMember } from "./result-state.ts";
import type { Touched } from "./window-changes.ts";

/** The list of a window: its documents in order, some of them beyond the limit. */
interface Ranked<E> {
  readonly size: number;
  at(rank: number): E | undefined;
  slice(from?: number, to?: number): E[];
}

/** A document of the list and its index. */
export interface RankedEntry<E> {
  readonly rank: number;
  readonly entry: E;
}

/** Each document that is compared counts as this many bytes, so that a pause is offered after some hundreds. */
const CHANGE_STEP_BYTES = 256;

/** The part of a commit that decides its effect on a window. All lists are in the order of the window. */
export interface WindowStepParts<E> {
  readonly touched: Touched;
  readonly limit: number;
  /** How many documents were visible before the commit. */
  readonly visibleBefore: number;
  /** The touched documents in the list before the commit, and in the current list. */
  readonly were: readonly RankedEntry<E>[];
  readonly are: readonly RankedEntry<E>[];
  /** The list after the commit. */
  readonly list: Ranked<E>;
  /** The documents that the list dropped at its end. */
  readonly dropped: readonly E[];
}

/**
 * The effect of one commit on a window, computed from the touched documents alone, however many others there are. All
 * others keep their relative order, so the visible ones are a prefix of them before and after the commit. The
 * difference of the two prefixes has become visible or invisible.
 */
export class WindowStep<E extends WindowMember> {
  readonly touched: Touched;
  readonly #parts: WindowStepParts<E>;
  readonly #visibleNow: number;
  /** How many untouched documents were visible before the commit, and are visible after it. */
  readonly #othersBefore: number;
  readonly #othersNow: number;
  /** Documents that became visible although the commit did not touch them, the last in order first. */
  readonly entered: readonly RankedEntry<E>[];

  constructor(parts: WindowStepParts<E>) {
    const { limit, list, were, are, visibleBefore } = parts;
    const isVisible = ({ rank }: RankedEntry<E>) => rank < limit;
    this.touched = parts.touched;
    this.#parts = parts;
    this.#visibleNow = Math.min(limit, list.size);
    this.#othersBefore = visibleBefore - were.filter(isVisible).length;
    this.#othersNow = this.#visibleNow - are.filter(isVisible).length;
    this.entered = this.#enteredOthers();
  }

  /** The documents that are visible now and may not have been before. */
  get shown(): E[] {
    const { are, limit } = this.#parts;
    const now = are.filter(({ rank }) => rank < limit);
    return [...now, ...this.entered].map(({ entry }) => entry);
  }

  /** Whether a document beyond the limit was added, removed or replaced. */
  get concernsSpare(): boolean {
    const { are, were, dropped, limit } = this.#parts;
    const isBeyond = ({ rank }: RankedEntry<E>) => rank >= limit;
    return this.entered.length > 0 || dropped.length > 0 || were.some(isBeyond) || are.some(isBeyond);
  }

  /** The visible documents before the commit. The cost is the length of the list. */
  visibleBefore(): E[] {
    const { list, dropped, touched, were, limit } = this.#parts;
    const others = [...list.slice(), ...dropped].filter(({ id }) => !touched.has(id));
    const before: E[] = [];
    let next = 0;
    for (const { rank, entry } of were) {
      while (before.length < rank && next < others.length) before.push(others[next++] as E); // `next` is an index of it
      before.push(entry);
    }
    return [...before, ...others.slice(next)].slice(0, limit);
  }

  /** The changes, equal to those of `windowChanges` for the visible documents before and after, with pauses. */
  *changes(documentOf: (entry: E) => Uint8Array): Steps<Change[]> {
    const { touched, limit, were, are } = this.#parts;
    const before = new Set(were.filter(({ rank }) => rank < limit).map(({ entry }) => entry.id));
    const now = are.filter(({ rank }) => rank < limit);
    const changes = this.#removals(now);
    yield;
    const moved = this.#movedIds(before, now);
    const pace = new StepPace();
    for (const { rank, entry } of [...this.entered, ...now].sort((a, b) => b.rank - a.rank)) {
      if (pace.isOver(CHANGE_STEP_BYTES)) yield;
      const touch = touched.get(entry.id);
      if (!before.has(entry.id)) {
        const cause = touch?.cause ?? "window";
        changes.push({ type: "added", cause, document: documentOf(entry), before: this.#follower(rank) });
      } else if (touch?.document !== undefined && (touch.isVisiblyChanged || moved.has(entry.id))) {
        const { cause, document, previous = document } = touch;
        changes.push({ type: "changed", cause, document, previous, before: this.#follower(rank) });
      }
    }
    return changes;
  }

  /** The `_id` of the visible document after this index. */
  #follower(rank: number): BsonValue | null {
    return rank + 1 < this.#visibleNow ? (this.#parts.list.at(rank + 1)?.idValue ?? null) : null;
  }

  #enteredOthers(): RankedEntry<E>[] {
    const { list, touched } = this.#parts;
    const entered: RankedEntry<E>[] = [];
    for (let rank = this.#visibleNow - 1; entered.length < this.#othersNow - this.#othersBefore; rank--) {
      const entry = list.at(rank);
      if (entry === undefined) break;
      if (!touched.has(entry.id)) entered.push({ rank, entry });
    }
    return entered;
  }

  /** Untouched documents that the commit pushed out of the visible part, in order. */
  #leftOthers(): E[] {
    const { list, dropped, touched } = this.#parts;
    const count = this.#othersBefore - this.#othersNow;
    const left: E[] = [];
    for (let rank = this.#visibleNow; left.length < count; rank++) {
      const entry = list.at(rank) ?? dropped[rank - list.size];
      if (entry === undefined) break;
      if (!touched.has(entry.id)) left.push(entry);
    }
    return left;
  }

  /** The documents that are no longer visible, in their previous order. */
  #removals(now: readonly RankedEntry<E>[]): Change[] {
    const { touched, limit, were } = this.#parts;
    const stay = new Set(now.map(({ entry }) => entry.id));
    const removed = were.filter(({ rank, entry }) => rank < limit && !stay.has(entry.id));
    let passed = 0;
    for (const [index, entry] of this.#leftOthers().entries()) {
      const others = this.#othersNow + index;
      while ((were[passed]?.rank ?? Number.POSITIVE_INFINITY) - passed <= others) passed++;
      removed.push({ rank: others + passed, entry });
    }
    removed.sort((a, b) => a.rank - b.rank);
    return removed.map(({ entry: { id, idValue } }) => ({
      type: "removed",
      cause: touched.get(id)?.cause ?? "window",
      id: idValue,
    }));
  }

  /**
   * Which touched documents that stay visible have moved. A document has not moved if it is still between the same two
   * untouched ones, together with the same touched ones in the same order.
   */
  #movedIds(before: ReadonlySet<string>, now: readonly RankedEntry<E>[]): Set<string> {
    const { were, are } = this.#parts;
    const stay = new Set(now.filter(({ entry }) => before.has(entry.id)).map(({ entry }) => entry.id));
    const gapsBefore = this.#gaps(were, stay);
    const moved = new Set<string>();
    for (const [others, ids] of this.#gaps(are, stay)) {
      const had = gapsBefore.get(others) ?? [];
      if (ids.length === had.length && ids.every((id, index) => id === had[index])) continue;
      for (const id of ids) moved.add(id);
    }
    return moved;
  }

  /** The touched documents of `ids`, by the number of untouched documents before them that stay visible. */
  #gaps(entries: readonly RankedEntry<E>[], ids: ReadonlySet<string>): Map<number, string[]> {
    const staying = Math.min(this.#othersBefore, this.#othersNow);
    const gaps = new Map<number, string[]>();
    for (const [index, { rank, entry }] of entries.entries()) {
      if (!ids.has(entry.id)) continue;
      const others = Math.min(rank - index, staying);
      const gap = gaps.get(others);
      if (gap === undefined) gaps.set(others, [entry.id]);
      else gap.push(entry.id);
    }
    return gaps;
  }
}
