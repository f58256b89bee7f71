import { type GuardParts, guarded } from "../metrics/guard.ts";
import { lacksMajority } from "../source/majority.ts";
import { isMongoFailure } from "../source/mongo.ts";

const CHECK_MS = 5_000;
/** A replica set without writes moves its change stream on every 10 s. */
const STALE_MS = 15_000;

/** The questions of the watch. */
export interface MajorityQuestions {
  /** How far the head of the change stream is behind MongoDB's clock, in milliseconds. */
  readonly headAgeMs: () => number;
  /** Reads in a way that only a primary with a majority answers. */
  readonly confirm: () => Promise<unknown>;
}

/**
 * Notices that the set has lost its majority while its primary stays. The change stream is then open and silent, as without
 * writes, so the question is asked only when the stream has not moved for longer than an idle one takes.
 */
export class MajorityWatch {
  readonly #questions: MajorityQuestions;
  readonly #parts: GuardParts;
  readonly #timer: NodeJS.Timeout;
  #isLost = false;
  #isAsking = false;

  constructor(questions: MajorityQuestions, parts: GuardParts) {
    this.#questions = questions;
    this.#parts = parts;
    const check = guarded(parts, "source.majority", () => this.#check());
    this.#timer = setInterval(check, CHECK_MS).unref();
  }

  /** Writes are not confirmed, and no change can arrive. */
  get isLost(): boolean {
    return this.#isLost;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      if (this.#questions.headAgeMs() > STALE_MS) await this.#questions.confirm();
      this.#note(false);
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      // Any other failure is reported by the change stream itself.
      if (lacksMajority(error)) this.#note(true);
    } finally {
      this.#isAsking = false;
    }
  }

  #note(isLost: boolean): void {
    if (isLost === this.#isLost) return;
    this.#isLost = isLost;
    const { log } = this.#parts;
    if (isLost)
      log.error("MongoDB has no majority: no write is confirmed, and no change arrives. Check rs.status()");
    else log.info("MongoDB has a majority again");
  }
}
