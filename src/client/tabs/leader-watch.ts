/** How many pings in a row the leading tab may leave unanswered. */
const UNANSWERED_MAX = 4;

/**
 * Notices a leading tab that is silent: frozen by the browser, or busy for long. It counts pings instead of time, because
 * this tab may have been frozen itself, and a browser runs the timers of hidden tabs rarely.
 */
export class LeaderWatch {
  readonly #silenceMs: number;
  readonly #ping: () => void;
  readonly #silent: () => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #unanswered = 0;

  /**
   * @param silenceMs How long the leading tab may be silent, in milliseconds.
   * @param ping Asks the leading tab for an answer.
   * @param silent The leading tab has not answered in time.
   */
  constructor(silenceMs: number, ping: () => void, silent: () => void) {
    this.#silenceMs = silenceMs;
    this.#ping = ping;
    this.#silent = silent;
  }

  start(): void {
    this.stop();
    this.#timer = setInterval(() => this.#look(), this.#silenceMs / UNANSWERED_MAX);
  }

  /** The leading tab has sent something. */
  heard(): void {
    this.#unanswered = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#unanswered = 0;
  }

  #look(): void {
    if (this.#unanswered < UNANSWERED_MAX) {
      this.#unanswered++;
      this.#ping();
    } else {
      this.#unanswered = 0;
      this.#silent();
    }
  }
}
