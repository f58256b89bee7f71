import { type GuardParts, newReference } from "./guard.ts";

/** The log has at most one line in this time, in milliseconds. */
const EVERY_MS = 60_000;

/**
 * Counts unexpected errors of work that anybody can ask for as often as they like, and logs one per minute. A log line
 * for each request would let a client fill the disk.
 */
export class FaultLog {
  readonly #parts: GuardParts;
  readonly #where: string;
  readonly #now: () => number;
  #nextMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  /** @param where A fixed name; the label of the metric. */
  constructor(parts: GuardParts, where: string, now: () => number = () => performance.now()) {
    this.#parts = parts;
    this.#where = where;
    this.#now = now;
  }

  /** @param text What failed, and the consequence. */
  note(error: unknown, text: string): void {
    const { log, metrics } = this.#parts;
    metrics.unexpectedErrors.inc({ where: this.#where });
    const nowMs = this.#now();
    if (nowMs < this.#nextMs) {
      this.#unlogged++;
      return;
    }
    this.#nextMs = nowMs + EVERY_MS;
    const more = this.#unlogged === 0 ? {} : { unlogged: this.#unlogged };
    this.#unlogged = 0;
    log.error({ err: error, ref: newReference(), where: this.#where, ...more }, text);
  }
}
