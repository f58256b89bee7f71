import { roundNow } from "../../rules/claims.ts";

/**
 * The time of `%%now` on this node. It changes at one point of the order of commits, when the node decides so, and not
 * whenever code reads a clock: between two steps all clients are judged by the same time.
 */
export class RuleClock {
  #stepMs: number;
  #nowMs: number;

  constructor(stepMs: number, nowMs: number) {
    this.#stepMs = stepMs;
    this.#nowMs = roundNow(nowMs, stepMs);
  }

  get stepMs(): number {
    return this.#stepMs;
  }

  /** The rounded time, in epoch milliseconds. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** When the next step begins, in epoch milliseconds. */
  get nextMs(): number {
    return this.#nowMs + this.#stepMs;
  }

  /**
   * Takes the step that contains a time.
   * @returns Whether it is a later step. A clock that was set back changes nothing.
   */
  advance(nowMs: number): boolean {
    const roundedMs = roundNow(nowMs, this.#stepMs);
    if (roundedMs <= this.#nowMs) return false;
    this.#nowMs = roundedMs;
    return true;
  }

  /** The time by which rules with a step would be judged. With the same step it is the time of the node. */
  at(stepMs: number, nowMs: number): number {
    return stepMs === this.#stepMs ? this.#nowMs : roundNow(nowMs, stepMs);
  }

  /** An edit of the rules changes the step. */
  setStep(stepMs: number, nowMs: number): void {
    if (stepMs === this.#stepMs) return;
    this.#stepMs = stepMs;
    this.#nowMs = roundNow(nowMs, stepMs);
  }
}
