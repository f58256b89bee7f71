import { type GuardParts, newReference } from "./guard.ts";
import { SparseLog } from "./sparse-log.ts";

/** Counts unexpected errors of work that anybody can ask for as often as they like, and logs one per minute. */
export class FaultLog {
  readonly #parts: GuardParts;
  readonly #where: string;
  readonly #now: () => number;
  readonly #sparse = new SparseLog();

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
    this.#sparse.write(this.#now(), (more) =>
      log.error({ err: error, ref: newReference(), where: this.#where, ...more }, text),
    );
  }
}
