/**
 * The clock and the identity of the deployment. Both decide whether a saved position still means anything, so they are
 * asked with a timeout and confirmed by a majority where a wrong answer would lose commits.
 */
import type { Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import type { Epoch, EpochStore } from "./epoch-store.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS } from "./mongo.ts";

/** The MongoDB deployment as an order of changes: its clock, and the epoch that identifies this order. */
export class Deployment {
  readonly #client: MongoAccess;
  readonly #epochs: EpochStore;
  readonly #identify: () => Promise<string>;
  /**
   * The request in progress, and the one that follows it. Thousands of clients may return at once, and all of them
   * share these two.
   */
  #asking: Promise<bigint> | undefined;
  #askingNext: Promise<bigint> | undefined;

  /** @param identify Asks the server for an identity that no other deployment has. */
  constructor(client: MongoAccess, epochs: EpochStore, identify: () => Promise<string>) {
    this.#client = client;
    this.#epochs = epochs;
    this.#identify = identify;
  }

  /**
   * The cluster time of the latest write that the server knows.
   * @param least A cluster time that was seen before. A primary that was frozen during an election still believes for a
   *   moment that it is the primary, and knows fewer writes. If the server's time is before `least`, a majority has to
   *   confirm it.
   */
  async now(least = 0n): Promise<bigint> {
    const now = await this.#ask();
    if (now >= least) return now;
    return (await this.#answer(() => this.#epochs.confirmedTime())) ?? now;
  }

  /**
   * Settles when a majority has confirmed that the primary still is one.
   * @throws The server's error if no majority confirms it in time.
   */
  async confirm(): Promise<void> {
    await this.#answer(() => this.#epochs.confirmedTime());
  }

  /** The epoch of this deployment; `changed` if it is another deployment than at the last call. */
  async epoch(): Promise<{ epoch: Epoch; changed: boolean }> {
    return this.#answer(async () => this.#epochs.current(await this.#identify()));
  }

  /** Ends the epoch `previous`: its cursors are answered with `reset`. */
  async newEpoch(reason: string, previous: string): Promise<Epoch> {
    return this.#answer(async () => this.#epochs.begin(await this.#identify(), reason, previous));
  }

  /**
   * Sends one request for all callers that arrive while the previous request is in progress. The request in progress
   * cannot serve them: its answer may be older than a write that such a caller has seen.
   */
  #ask(): Promise<bigint> {
    if (this.#asking === undefined) {
      this.#asking = this.#ping().finally(() => {
        this.#asking = undefined;
      });
      return this.#asking;
    }
    this.#askingNext ??= this.#asking
      .catch(() => {}) // Its own callers receive the error.
      .then(() => {
        this.#askingNext = undefined;
        return this.#ask();
      });
    return this.#askingNext;
  }

  async #ping(): Promise<bigint> {
    const answer = await this.#answer(() =>
      this.#client.db("admin").command({ ping: 1 }, { readPreference: "primary" }),
    );
    const operationTime: Timestamp | undefined = answer["operationTime"];
    if (operationTime === undefined)
      throw new Error("the server reports no operationTime: it is not a replica set");
    return fromTimestamp(operationTime);
  }

  #answer<T>(ask: () => Promise<T>): Promise<T> {
    return answerOf(this.#client, ask, { timeoutMs: STATE_TIMEOUT_MS });
  }
}
