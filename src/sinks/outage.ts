import { type GuardParts, guarded } from "../metrics/guard.ts";
import { outageDelayMs } from "./retry-schedule.ts";

/** A target that cannot be reached, and when it is tried again. */
export class Outage {
  readonly #parts: GuardParts;
  readonly #onRetry: () => void;
  /** Attempts in vain since the target last took a message. */
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param onRetry Called when the target may be tried again. */
  constructor(parts: GuardParts, onRetry: () => void) {
    this.#parts = parts;
    this.#onRetry = onRetry;
  }

  /** Whether nothing may be sent now. */
  get isWaiting(): boolean {
    return this.#timer !== null;
  }

  /** Whether the target has not taken a message since it was unreachable. */
  get isGoingOn(): boolean {
    return this.#failures > 0;
  }

  /** @param retryAfterMs The wait that the target asks for. */
  begin(retryAfterMs: number | undefined): void {
    if (this.#timer !== null) return;
    this.#failures++;
    const retry = guarded(this.#parts, "sinks.outage", () => this.retryNow());
    // A receiver may ask for a longer wait, and not for none: it would be asked in a loop while it is down.
    const delayMs = Math.max(outageDelayMs(this.#failures), retryAfterMs ?? 0);
    this.#timer = setTimeout(retry, delayMs).unref();
  }

  /** Ends the wait, if there is one. */
  retryNow(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#onRetry();
  }

  /** The target has taken a message. */
  end(): void {
    this.#failures = 0;
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}
