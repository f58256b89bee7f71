/**
 * Decides how long a starting node waits for MongoDB. A node is often started together with its database, so a database
 * that is not ready is normal; a mistake in the configuration is not, and must end the start with a text.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type MongoClient,
  MongoInvalidArgumentError,
  MongoMissingDependencyError,
  MongoParseError,
  MongoServerError,
} from "mongodb";
import type { Logger } from "pino";
import { connectionProblem } from "./connection-problem.ts";
import { lacksMajority } from "./majority.ts";
import { answerOf, clientOf, isMongoFailure, type MongoAccess } from "./mongo.ts";
import { StartupError } from "./startup-error.ts";
import { downReasonOf, waitsForPrimary } from "./stream-errors.ts";

const PAUSE_MS = 250;
/** Timeout of one step in milliseconds, however patient the start is: a lost connection never answers. */
const STEP_TIMEOUT_MS = 60_000;

/** Called before each further attempt while the set answers without a primary or a majority. */
export type WhileWaiting = (reason: "no-primary" | "no-majority") => Promise<void>;

/** Repeats the steps of a start while MongoDB does not answer, for `timeoutMs` of all steps together. */
export class StartPatience {
  readonly #client: MongoAccess;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  readonly #whileWaiting: WhileWaiting | undefined;
  #giveUpAtMs: number;
  #hasWarned = false;

  /** @param whileWaiting If given, the start waits without a limit for a set that answers without a majority. */
  constructor(client: MongoAccess, timeoutMs: number, log: Logger, whileWaiting?: WhileWaiting) {
    this.#client = client;
    this.#giveUpAtMs = Date.now() + timeoutMs;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
    this.#whileWaiting = whileWaiting;
  }

  /**
   * Runs a step until it succeeds.
   * @param step May run several times.
   * @throws {StartupError} MongoDB has not answered in time, or has refused. Any other error of the step is thrown at
   *   once.
   */
  async run<T>(step: (client: MongoClient) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await answerOf(this.#client, step, { timeoutMs: STEP_TIMEOUT_MS });
      } catch (error) {
        if (!mayPass(error)) throw isMongoFailure(error) ? await unreachable(error, this.#client) : error;
        await this.#wait(error);
        await sleep(PAUSE_MS);
      }
    }
  }

  async #wait(error: unknown): Promise<void> {
    const waitsFor = waitReasonOf(error);
    if (this.#whileWaiting !== undefined && waitsFor !== null) {
      await this.#whileWaiting(waitsFor);
      this.#giveUpAtMs = Date.now() + this.#timeoutMs;
      return;
    }
    if (Date.now() >= this.#giveUpAtMs) throw await unreachable(error, this.#client);
    if (!this.#hasWarned) {
      const tryForMs = this.#timeoutMs;
      this.#log.warn(
        { err: error, reason: downReasonOf(error), tryForMs },
        "MongoDB cannot be reached yet; trying again until mongodb.startTimeout",
      );
    }
    this.#hasWarned = true;
  }
}

/** The reason to wait without a limit; `null` if a mistake in the configuration may be the cause. */
function waitReasonOf(error: unknown): "no-primary" | "no-majority" | null {
  if (lacksMajority(error)) return "no-majority";
  return waitsForPrimary(error) ? "no-primary" : null;
}

/** Whether the same step may succeed later: MongoDB gave no answer, or has no primary just now. */
function mayPass(error: unknown): boolean {
  if (error instanceof MongoParseError || error instanceof MongoInvalidArgumentError) return false;
  if (error instanceof MongoMissingDependencyError) return false;
  // A file that mongodb.uri names cannot be read.
  if (error instanceof Error && "syscall" in error && error.syscall === "open") return false;
  if (error instanceof MongoServerError) return lacksMajority(error) || downReasonOf(error) === "no-primary";
  return isMongoFailure(error);
}

/** The error for the admin if MongoDB cannot be used. Its text says which host, why, and what to do. */
export async function unreachable(cause: unknown, client: MongoAccess): Promise<StartupError> {
  const problem = await connectionProblem(cause, clientOf(client));
  return new StartupError(`MongoDB cannot be reached: ${problem}`, [], { cause });
}
