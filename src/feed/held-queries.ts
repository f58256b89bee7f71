/**
 * Remembers which live queries hold changes back, and wakes up when the next one is due. One timer serves all of them,
 * because a node may have tens of thousands of counters.
 */
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { RowPace } from "./held-rows.ts";

/** Due times are rounded up to this part of an interval, so that the counters of one page are sent together. */
const SLOTS = 5;

/** The live queries that hold changes back, with the time at which each is due. */
export class HeldQueries<Q> {
  /** For all aggregates of the node. */
  readonly pace: RowPace;
  readonly #wake: () => void;
  readonly #due = new Map<Q, number>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  #wakesAtMs = Number.POSITIVE_INFINITY;

  /**
   * @param intervalMs The shortest time between two sends of one aggregate.
   * @param onDue Called when some are due. The caller takes them, now or later.
   */
  constructor(intervalMs: number, parts: GuardParts, onDue: () => unknown) {
    this.pace = { intervalMs, nowMs: () => performance.now() };
    this.#wake = guarded(parts, "feed.held", () => {
      this.#wakesAtMs = Number.POSITIVE_INFINITY;
      return onDue();
    });
  }

  /** Notes that a live query holds changes back until `dueMs`, by the clock of the pace. */
  hold(liveQuery: Q, dueMs: number): void {
    this.#due.set(liveQuery, dueMs);
    this.#wakeAt(dueMs);
  }

  drop(liveQuery: Q): void {
    this.#due.delete(liveQuery);
  }

  /** Takes the live queries that are due. */
  takeDue(): Q[] {
    const nowMs = this.pace.nowMs();
    const due: Q[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [liveQuery, dueMs] of this.#due) {
      if (dueMs <= nowMs) due.push(liveQuery);
      else if (dueMs < nextMs) nextMs = dueMs;
    }
    for (const liveQuery of due) this.#due.delete(liveQuery);
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wakeAt(nextMs);
    return due;
  }

  /** Takes all live queries that hold changes back. */
  takeAll(): Q[] {
    const all = [...this.#due.keys()];
    this.#due.clear();
    return all;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#due.clear();
  }

  #wakeAt(dueMs: number): void {
    const slotMs = this.pace.intervalMs / SLOTS;
    const atMs = Math.ceil(dueMs / slotMs) * slotMs;
    // A batch may still be delivered while the service stops.
    if (atMs >= this.#wakesAtMs || this.#isStopped) return;
    this.#wakesAtMs = atMs;
    clearTimeout(this.#timer);
    // Rounded up, because a timer that fires a moment too early would find nothing due.
    this.#timer = setTimeout(this.#wake, Math.ceil(atMs - this.pace.nowMs())).unref();
  }
}
