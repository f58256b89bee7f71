/**
 * The longest silence of one client while writes went on: from the first write that was acknowledged after a change, to
 * the next change. A pause of the writers is no silence.
 */
export class Silence {
  longestMs = 0;
  #since: number | undefined;
  readonly #nowMs: () => number;

  constructor(nowMs = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** A write was acknowledged that the client is to receive. */
  written(): void {
    this.#since ??= this.#nowMs();
  }

  /** The client has received a change. */
  received(): void {
    if (this.#since !== undefined) this.longestMs = Math.max(this.longestMs, this.#nowMs() - this.#since);
    this.#since = undefined;
  }

  /** The longest silence so far, which begins again. */
  take(): number {
    const longestMs = this.longestMs;
    this.longestMs = 0;
    return longestMs;
  }
}
