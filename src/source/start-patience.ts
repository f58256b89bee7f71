import { setTimeout as sleep } from "node:timers/promises";
import { type MongoClient, MongoServerError } from "mongodb";
import type { Logger } from "pino";
import { answerOf, isMongoFailure, type MongoAccess } from "./mongo.ts";
import { StartupError } from "./startup-error.ts";
import { downReasonOf } from "./stream-errors.ts";

const PAUSE_MS = 250;
/** No step waits for one answer longer than this, however patient the start is: a lost connection never answers. */
const STEP_TIMEOUT_MS = 60_000;

/** Repeats the steps of a start while MongoDB does not answer, for `timeoutMs` of all steps together. */
export class StartPatience {
  readonly #client: MongoAccess;
  readonly #giveUpAtMs: number;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  #hasWarned = false;

  constructor(client: MongoAccess, timeoutMs: number, log: Logger) {
    this.#client = client;
    this.#giveUpAtMs = Date.now() + timeoutMs;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /**
   * @param step May run several times.
   * @throws {StartupError} MongoDB has not answered in time; whatever else the step throws, at once.
   */
  async run<T>(step: (client: MongoClient) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await answerOf(this.#client, step, { timeoutMs: STEP_TIMEOUT_MS });
      } catch (error) {
        if (!mayPass(error)) throw error;
        if (Date.now() >= this.#giveUpAtMs) throw unreachable(error);
        if (!this.#hasWarned) {
          const tryForMs = this.#timeoutMs;
          this.#log.warn(
            { err: error, reason: downReasonOf(error), tryForMs },
            "MongoDB cannot be reached yet; trying again until mongodb.startTimeout",
          );
        }
        this.#hasWarned = true;
        await sleep(PAUSE_MS);
      }
    }
  }
}

/** Whether the same step may succeed later: MongoDB gave no answer, or has no primary just now. */
function mayPass(error: unknown): boolean {
  if (error instanceof MongoServerError) return downReasonOf(error) === "no-primary";
  return isMongoFailure(error);
}

/** The error for the admin where no server answers at the start. */
export const unreachable = (cause: unknown) =>
  new StartupError("MongoDB cannot be reached: check mongodb.uri, and that a server runs there", [], {
    cause,
  });
