import type { GuardParts } from "../metrics/guard.ts";
import { guardedRefresh } from "./guarded-refresh.ts";
import type { MongoAccess } from "./mongo.ts";

/** How often MongoDB's clock is read, in milliseconds. Clocks drift apart by seconds a day. */
const INTERVAL_MS = 60_000;

/**
 * MongoDB's clock, which cluster times follow. The clock of this machine may be wrong by minutes, and a wait until "the
 * time of that write has passed" must not take those minutes.
 */
export class ServerClock {
  readonly #readMs: () => Promise<number>;
  readonly #parts: GuardParts;
  readonly #localMs: () => number;
  #offsetMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param readMs Asks MongoDB for its time, in epoch milliseconds.
   * @param localMs The clock of this machine, in epoch milliseconds.
   */
  constructor(readMs: () => Promise<number>, parts: GuardParts, localMs: () => number = Date.now) {
    this.#readMs = readMs;
    this.#parts = parts;
    this.#localMs = localMs;
  }

  /** Reads MongoDB's clock once, and again every minute until `stop`. */
  async start(): Promise<void> {
    await this.#measure();
    const warning = "MongoDB's clock could not be read; the last difference stays in force";
    const measure = guardedRefresh(this.#parts, "source.clock", () => this.#measure(), warning);
    this.#timer = setInterval(measure, INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** MongoDB's time in epoch milliseconds, as precisely as the last measurement allows. */
  nowMs(): number {
    return this.#localMs() + this.#offsetMs;
  }

  /** How far MongoDB's clock is ahead of this machine's, in milliseconds. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  async #measure(): Promise<void> {
    const askedMs = this.#localMs();
    const serverMs = await this.#readMs();
    const answeredMs = this.#localMs();
    // The server read its clock at some moment between question and answer, so a smaller difference may be no
    // difference.
    if (serverMs < askedMs) this.#offsetMs = serverMs - askedMs;
    else if (serverMs > answeredMs) this.#offsetMs = serverMs - answeredMs;
    else this.#offsetMs = 0;
  }
}

/** The time of the primary in epoch milliseconds. */
export async function readServerTime(access: MongoAccess): Promise<number> {
  const { localTime } = await access.db("admin").command({ hello: 1 }, { readPreference: "primary" });
  if (!(localTime instanceof Date)) throw new Error("the server reports no localTime");
  return localTime.getTime();
}
