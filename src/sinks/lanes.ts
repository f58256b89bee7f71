import { type GuardParts, guarded } from "../metrics/guard.ts";

interface Lane {
  /** When its first message may be sent again, in epoch milliseconds; `null` while its messages are being sent. */
  dueAtMs: number | null;
  /** Whether a message was added since its messages were last read. */
  hasMore: boolean;
}

/** Keys that may wait for a retry. A refused message of a further key is parked at once. */
export const LANES_MAX = 10_000;
/** Lanes whose messages are in memory at the same time. */
const RUNNING_MAX = 8;
/** The longest delay of a timer, in milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * The keys whose messages wait, because the target has refused the first of them. The messages themselves are in the
 * spool; here is only when each lane is due.
 */
export class Lanes {
  readonly #byKey = new Map<string, Lane>();
  readonly #parts: GuardParts;
  readonly #run: (lane: string) => Promise<void>;
  #running = 0;
  #isSuspended = true;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  /** @param run Reads the messages of a lane and sends them. */
  constructor(parts: GuardParts, run: (lane: string) => Promise<void>) {
    this.#parts = parts;
    this.#run = run;
  }

  get size(): number {
    return this.#byKey.size;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** The messages of a key wait until a time. */
  block(key: string, dueAtMs: number): void {
    const lane = this.#byKey.get(key);
    const wasRunning = lane?.dueAtMs === null;
    if (lane === undefined) this.#byKey.set(key, { dueAtMs, hasMore: false });
    else lane.dueAtMs = dueAtMs;
    if (wasRunning) this.#running--;
    // A lane that ran may have kept others waiting.
    this.#schedule(wasRunning ? 0 : dueAtMs);
  }

  /** A message was added to a lane. */
  noteAdded(key: string): void {
    const lane = this.#byKey.get(key);
    if (lane !== undefined) lane.hasMore = true;
  }

  /** The lane was found empty. Unless a message was added meanwhile, messages of its key pass again. */
  finish(key: string): void {
    if (this.#byKey.get(key)?.hasMore === true) this.block(key, 0);
    else {
      this.#byKey.delete(key);
      this.#running--;
      this.#look();
    }
  }

  /** Nothing is sent until `wake`. */
  suspend(): void {
    this.#isSuspended = true;
    clearTimeout(this.#timer);
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  wake(): void {
    if (!this.#isSuspended) return;
    this.#isSuspended = false;
    this.#look();
  }

  /** Sends the messages that are due, and sets the timer for the others. */
  #look(): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    if (this.#isSuspended) return;
    const nowMs = Date.now();
    for (const [key, lane] of this.#byKey) {
      if (this.#running >= RUNNING_MAX) return; // a lane that ends looks again
      if (lane.dueAtMs === null) continue;
      if (lane.dueAtMs > nowMs) {
        this.#schedule(lane.dueAtMs);
        continue;
      }
      this.#running++;
      lane.dueAtMs = null;
      lane.hasMore = false;
      guarded(this.#parts, "sinks.lane", () => this.#run(key))();
    }
  }

  #schedule(dueAtMs: number): void {
    if (this.#isSuspended || dueAtMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = dueAtMs;
    const delayMs = Math.min(Math.max(0, dueAtMs - Date.now()) + 1, TIMER_MAX_MS);
    this.#timer = setTimeout(
      guarded(this.#parts, "sinks.lanes", () => this.#look()),
      delayMs,
    ).unref();
  }
}
