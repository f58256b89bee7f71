/**
 * Distributes commits to live queries. The order matters three times: rights before results, cheap live queries before
 * expensive ones, and found changes written before a pause.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { byNamespace, type Commit, hasImages } from "../source/change-event.ts";
import type { CommitTraceSlot } from "./commit-trace.ts";
import { NOTHING } from "./handout.ts";
import type { HeldQueries } from "./held-queries.ts";
import type { HistoryEntry } from "./history.ts";
import type { LiveQuery } from "./live-query.ts";
import type { Lookups } from "./lookups.ts";
import { isLong } from "./pieces.ts";
import { PredicateIndex } from "./predicate-index.ts";
import type { Slices } from "./slices.ts";
import type { WorkMeter } from "./work-meter.ts";

/** A live query whose commits take longer than this, in milliseconds, receives them after all others. */
const EXPENSIVE_MS = 0.5;

/** The parts that `Dispatch` works with. */
export interface DispatchParts {
  readonly lookups: Lookups;
  readonly slices: Slices;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly work: WorkMeter;
  readonly trace: CommitTraceSlot;
  /** The live queries that hold changes back. */
  readonly held: HeldQueries<LiveQuery>;
  /**
   * Called when a live query cannot be kept up to date. It must be removed, because the state of its followers is
   * unknown.
   */
  readonly onFailed: (liveQuery: LiveQuery, error: unknown) => void;
  /** Whether a collection is the service's own. Its events need no images. */
  readonly isOwn: (namespace: string) => boolean;
  /** Called when everything delivered so far can be written. */
  readonly onHandedOut: () => void;
}

/**
 * Passes commits to the live queries that they concern, one commit after the other. Every `yield` is a point at which
 * the caller may run other work. All changes found until then have been written.
 */
export class Dispatch {
  readonly #parts: DispatchParts;
  readonly #byNamespace = new Map<string, PredicateIndex<LiveQuery>>();
  readonly #changed = new Set<LiveQuery>();

  constructor(parts: DispatchParts) {
    this.#parts = parts;
  }

  add(liveQuery: LiveQuery): void {
    let index = this.#byNamespace.get(liveQuery.namespace);
    if (index === undefined) {
      index = new PredicateIndex();
      this.#byNamespace.set(liveQuery.namespace, index);
    }
    index.add(liveQuery, liveQuery.spec.filter);
  }

  /** The collections with a live query. */
  get namespaces(): Iterable<string> {
    return this.#byNamespace.keys();
  }

  /** Whether commits find it by a value of its filter. */
  isIndexed(liveQuery: LiveQuery): boolean {
    return this.#byNamespace.get(liveQuery.namespace)?.isIndexed(liveQuery) ?? false;
  }

  remove(liveQuery: LiveQuery): void {
    const index = this.#byNamespace.get(liveQuery.namespace);
    index?.remove(liveQuery);
    // Clients choose the collections, so indexes without live queries would accumulate.
    if (index?.size === 0) this.#byNamespace.delete(liveQuery.namespace);
    this.#changed.delete(liveQuery);
    this.#parts.held.drop(liveQuery);
  }

  /**
   * Distributes one commit. Rights come first: a subscription whose rights the commit withdraws is silent before a live
   * query evaluates the commit.
   */
  *apply(entry: HistoryEntry): Generator<void, void> {
    const { lookups, slices, work } = this.#parts;
    this.#countMissingImages(entry.commit);
    work.beginCommit();
    if (lookups.areKept) yield* this.#judging(lookups.apply(entry, () => this.flushAll()));
    this.#parts.trace.observer?.arrived(entry);
    for (const [namespace, events] of byNamespace(entry.commit.events)) {
      const index = this.#byNamespace.get(namespace);
      if (index === undefined) continue;
      const fromMs = slices.workMs;
      const long = isLong(events);
      const candidates = long
        ? yield* this.#flushing(index.candidatesInSteps(events))
        : index.candidates(events);
      const foundMs = slices.workMs;
      work.noteSearch(index, foundMs - fromMs);
      if (candidates.size > 0) yield* this.#offerAll(candidates, entry, long, foundMs);
    }
  }

  /**
   * Expensive live queries come last, so that followers of cheap ones need not wait for them. The clock is read once
   * per live query: the end of one is the start of the next.
   */
  *#offerAll(
    candidates: Iterable<LiveQuery>,
    entry: HistoryEntry,
    inSteps: boolean,
    startedMs: number,
  ): Generator<void, void> {
    const { work, slices } = this.#parts;
    const expensive: LiveQuery[] = [];
    let fromMs = startedMs;
    for (const liveQuery of candidates) {
      if (work.meanMs(liveQuery) >= EXPENSIVE_MS) {
        expensive.push(liveQuery);
        continue;
      }
      if (work.isTight) work.shed(liveQuery);
      if (inSteps) yield* this.#offerInSteps(liveQuery, entry);
      else this.#offer(liveQuery, entry);
      fromMs = this.#note(liveQuery, fromMs);
      if (slices.isOver(fromMs)) {
        yield* this.#endSlice();
        fromMs = slices.workMs;
      }
    }
    if (expensive.length > 0) yield* this.#offerExpensive(expensive, entry, inSteps);
  }

  *#offerExpensive(expensive: LiveQuery[], entry: HistoryEntry, inSteps: boolean): Generator<void, void> {
    const { work, slices } = this.#parts;
    expensive.sort((a, b) => work.meanMs(a) - work.meanMs(b));
    // The changes of the cheap live queries are written before the first expensive one is evaluated.
    yield* this.flush();
    for (const liveQuery of expensive) {
      const fromMs = slices.workMs;
      if (work.isTight) work.shed(liveQuery);
      if (inSteps) yield* this.#offerInSteps(liveQuery, entry);
      else this.#offer(liveQuery, entry);
      if (slices.isOver(this.#note(liveQuery, fromMs))) yield* this.#endSlice();
    }
  }

  /**
   * Writes all changes found since the last flush, except those that their live query holds back. Changes that are found
   * together cost each connection one write.
   */
  *flush(): Generator<void, void> {
    yield* this.#flushChanged();
    this.#parts.onHandedOut();
  }

  /** Writes everything, also the changes that are held back, so that every client has the state of this point. */
  *flushAll(): Generator<void, void> {
    yield* this.#flushChanged();
    for (const liveQuery of this.#parts.held.takeAll()) yield* this.#flushOne(liveQuery, true);
    this.#parts.onHandedOut();
  }

  /** Writes the changes that have been held back for long enough. */
  *flushDue(): Generator<void, void> {
    for (const liveQuery of this.#parts.held.takeDue()) yield* this.#flushOne(liveQuery);
    this.#parts.onHandedOut();
  }

  *#flushChanged(): Generator<void, void> {
    for (const liveQuery of this.#changed) {
      this.#changed.delete(liveQuery);
      yield* this.#flushOne(liveQuery);
    }
  }

  /** Usually everything is written in this turn. Then no generator is made, because this runs for every change. */
  #flushOne(liveQuery: LiveQuery, atOnce = false): Iterable<void> {
    try {
      const rest = liveQuery.flush(atOnce);
      return rest === NOTHING ? NOTHING : this.#contained(liveQuery, rest);
    } catch (error) {
      this.#parts.onFailed(liveQuery, error);
      return NOTHING;
    }
  }

  *#contained(liveQuery: LiveQuery, rest: Iterable<void>): Generator<void, void> {
    try {
      yield* rest;
    } catch (error) {
      this.#parts.onFailed(liveQuery, error);
    }
  }

  #offer(liveQuery: LiveQuery, entry: HistoryEntry): void {
    // A live query may be removed while a commit is being distributed.
    if (liveQuery.isRetired) return;
    try {
      if (liveQuery.apply(entry)) this.#noteChanged(liveQuery, entry);
    } catch (error) {
      this.#parts.onFailed(liveQuery, error);
    }
  }

  *#offerInSteps(liveQuery: LiveQuery, entry: HistoryEntry): Generator<void, void> {
    if (liveQuery.isRetired) return;
    try {
      if (yield* this.#flushing(liveQuery.applyInSteps(entry))) this.#noteChanged(liveQuery, entry);
    } catch (error) {
      this.#parts.onFailed(liveQuery, error);
    }
  }

  #noteChanged(liveQuery: LiveQuery, entry: HistoryEntry): void {
    this.#changed.add(liveQuery);
    this.#parts.trace.observer?.matched(liveQuery, entry);
  }

  /**
   * Charges the work since `fromMs` to a live query.
   * @returns The current time.
   */
  #note(liveQuery: LiveQuery, fromMs: number): number {
    const nowMs = this.#parts.slices.workMs;
    // A live query that was removed meanwhile is not in the meter any more.
    if (!liveQuery.isRetired) this.#parts.work.note(liveQuery, nowMs - fromMs);
    return nowMs;
  }

  /** Writes the changes before other work runs. A user who exceeds the allowance is stopped within the commit. */
  *#endSlice(): Generator<void, void> {
    const { work } = this.#parts;
    yield* this.flush();
    if (work.isDue) work.judge(Date.now());
    yield;
  }

  /** Stops a user whose rights take too long to decide within the commit. */
  *#judging(steps: Iterable<void>): Generator<void, void> {
    const { work } = this.#parts;
    for (const _ of steps) {
      if (work.isDue) work.judge(Date.now());
      yield;
    }
  }

  /** Writes the changes found so far before a pause, so that one slow live query delays no other. */
  *#flushing<T>(steps: Generator<void, T>): Generator<void, T> {
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) return step.value;
      if (this.#parts.slices.isOver()) yield* this.flush();
      yield;
    }
  }

  #countMissingImages(commit: Commit): void {
    for (const event of commit.events) {
      if (event.operation === "replaced-collection") {
        this.#parts.log.warn(
          { namespace: event.namespace, by: event.by },
          "a collection was replaced as a whole",
        );
      } else if (!hasImages(event) && !this.#parts.isOwn(event.namespace)) {
        this.#parts.metrics.imagesUnreadable.inc();
      }
    }
  }
}
