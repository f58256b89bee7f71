import type { Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import type { Epoch, EpochStore } from "./epoch-store.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS } from "./mongo.ts";

/** The MongoDB deployment as an order of changes: its clock, and which unbroken order this is. */
export class Deployment {
  readonly #client: MongoAccess;
  readonly #epochs: EpochStore;
  readonly #identify: () => Promise<string>;
  /** The question that is being answered, and the one that will be asked next: thousands of clients may come back at once. */
  #asking: Promise<bigint> | undefined;
  #askingNext: Promise<bigint> | undefined;

  /** @param identify Asks the server for what tells this deployment from every other. */
  constructor(client: MongoAccess, epochs: EpochStore, identify: () => Promise<string>) {
    this.#client = client;
    this.#epochs = epochs;
    this.#identify = identify;
  }

  /**
   * The cluster time of the latest write that the server knows.
   * @param least A time that was seen already. A primary that was frozen while another one was elected takes itself for
   * the primary for a moment, and knows less: where the server's time is before `least`, a majority has to confirm it.
   */
  async now(least = 0n): Promise<bigint> {
    const now = await this.#ask();
    if (now >= least) return now;
    return (await this.#answer(() => this.#epochs.confirmedTime())) ?? now;
  }

  /** Settles when a majority has confirmed that the primary still is one. @throws The server's error if it does not in time. */
  async confirm(): Promise<void> {
    await this.#answer(() => this.#epochs.confirmedTime());
  }

  /** The epoch of this deployment; `changed` when that is another deployment than at the last look. */
  async epoch(): Promise<{ epoch: Epoch; changed: boolean }> {
    return this.#answer(async () => this.#epochs.current(await this.#identify()));
  }

  /** Ends the epoch `previous`: cursors of it are answered by `reset`. */
  async newEpoch(reason: string, previous: string): Promise<Epoch> {
    return this.#answer(async () => this.#epochs.begin(await this.#identify(), reason, previous));
  }

  /** Asks the server after the call, once for all who call while the question before is being answered. */
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
