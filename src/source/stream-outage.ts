/**
 * Reports outages of the change stream. During an outage clients keep their data and receive no changes, so an operator
 * must see at once that this is the case, since when, and why.
 */
import { MongoTopologyClosedError } from "mongodb";
import type { Logger } from "pino";
import { guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { DOWN_REASONS, type DownReason, downReasonOf } from "./stream-errors.ts";

/** How long the change stream has been down, and why. */
export interface StreamDown {
  readonly reason: DownReason;
  readonly seconds: number;
}

/** The log repeats that the stream is down after this long, and then after twice as long each time. In milliseconds. */
const REPEAT_MS = { first: 10_000, most: 60_000 };

/** Records how long the change stream is down: metric, `/readyz` and log report the duration and the reason. */
export class StreamOutage {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  /** `attempts` is 0 until the first failure after the start. */
  #down: { readonly sinceMs: number; reason: DownReason; error: unknown; attempts: number } | undefined;
  #repeat: NodeJS.Timeout | undefined;

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log;
    this.#metrics = metrics;
    metrics.onScrape("streamDownSeconds", () => this.#measure());
    this.#down = { sinceMs: Date.now(), reason: "starting", error: undefined, attempts: 0 };
  }

  /** `null` while the stream is up. */
  get current(): StreamDown | null {
    if (this.#down === undefined) return null;
    const { reason, sinceMs } = this.#down;
    return { reason, seconds: Math.round((Date.now() - sinceMs) / 100) / 10 };
  }

  /**
   * The stream has ended, or could not be opened again.
   * @param sinceMs When it was last known to be up, in epoch milliseconds.
   */
  failed(error: unknown, sinceMs: number): void {
    const reason = this.#reasonOf(error);
    if (this.#down === undefined || this.#down.attempts === 0) {
      const { sinceMs: startedMs = sinceMs } = this.#down ?? {};
      this.#down = { sinceMs: startedMs, reason, error, attempts: 1 };
      this.#log.warn({ err: error, reason }, "the change stream is down; opening it again");
      this.#scheduleRepeat(REPEAT_MS.first);
      return;
    }
    const { attempts } = this.#down;
    Object.assign(this.#down, { reason, error, attempts: attempts + 1 });
    this.#log.debug({ err: error, reason, attempts }, "the change stream could not be opened");
  }

  /** The server has answered the stream, so the outage is over. */
  ended(): void {
    const { current } = this;
    if (current === null) return;
    const attempts = this.#down?.attempts ?? 0;
    this.stop();
    this.#down = undefined;
    if (attempts > 0) {
      const { reason, seconds: downSeconds } = current;
      this.#log.info({ downSeconds, reason, attempts }, "the change stream is up again");
    }
  }

  stop(): void {
    clearTimeout(this.#repeat);
  }

  /** An error that only means that another operation abandoned the client does not replace the original reason. */
  #reasonOf(error: unknown): DownReason {
    const isNews = !(error instanceof MongoTopologyClosedError);
    return isNews || !this.#down?.attempts ? downReasonOf(error) : this.#down.reason;
  }

  #scheduleRepeat(inMs: number): void {
    const parts = { log: this.#log, metrics: this.#metrics };
    const repeat = guarded(parts, "source.outage", () => {
      const { current } = this;
      if (current === null) return;
      const { error: err, attempts } = this.#down ?? {};
      const { reason, seconds: downSeconds } = current;
      this.#log.error({ err, reason, downSeconds, attempts }, "the change stream is still down");
      this.#scheduleRepeat(Math.min(REPEAT_MS.most, 2 * inMs));
    });
    this.#repeat = setTimeout(repeat, inMs).unref();
  }

  #measure(): void {
    const { current } = this;
    for (const reason of DOWN_REASONS) {
      const seconds = current?.reason === reason ? current.seconds : 0;
      this.#metrics.streamDownSeconds.set({ reason }, seconds);
    }
  }
}
