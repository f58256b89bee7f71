import { roundNow } from "../../rules/claims.ts";

/**
 * The time that `%%now` stands for on this node. It changes at one point of the order of changes, when the node says so,
 * and not whenever somebody looks at a clock: between two steps everybody is judged by the same time.
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

  /** When the next step begins. */
  get nextMs(): number {
    return this.#nowMs + this.#stepMs;
  }

  /** Takes the step that a time lies in; whether that is a later one. A clock that was set back changes nothing. */
  advance(nowMs: number): boolean {
    const roundedMs = roundNow(nowMs, this.#stepMs);
    if (roundedMs <= this.#nowMs) return false;
    this.#nowMs = roundedMs;
    return true;
  }

  /** The time that rules with a step would be judged by. With the same step it is that of the node. */
  at(stepMs: number, nowMs: number): number {
    return stepMs === this.#stepMs ? this.#nowMs : roundNow(nowMs, stepMs);
  }

  /** An edit of the rules brings other steps. */
  setStep(stepMs: number, nowMs: number): void {
    if (stepMs === this.#stepMs) return;
    this.#stepMs = stepMs;
    this.#nowMs = roundNow(nowMs, stepMs);
  }
}
