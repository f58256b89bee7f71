import type { MongoClient, Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import type { Epoch, EpochStore } from "./epoch-store.ts";

/** The MongoDB deployment as an order of changes: its clock, and which unbroken order this is. */
export class Deployment {
  readonly #client: MongoClient;
  readonly #epochs: EpochStore;
  readonly #identify: () => Promise<string>;

  /** @param identify Asks the server for what tells this deployment from every other. */
  constructor(client: MongoClient, epochs: EpochStore, identify: () => Promise<string>) {
    this.#client = client;
    this.#epochs = epochs;
    this.#identify = identify;
  }

  /** The cluster time of the latest write that the server knows. */
  async now(): Promise<bigint> {
    const answer = await this.#client.db("admin").command({ ping: 1 }, { readPreference: "primary" });
    const operationTime: Timestamp | undefined = answer["operationTime"];
    if (operationTime === undefined)
      throw new Error("the server reports no operationTime: it is no replica set");
    return fromTimestamp(operationTime);
  }

  /** The epoch of this deployment; `changed` when that is another deployment than at the last look. */
  async epoch(): Promise<{ epoch: Epoch; changed: boolean }> {
    return this.#epochs.current(await this.#identify());
  }

  /** Ends the epoch `previous`: cursors of it are answered by `reset`. */
  async newEpoch(reason: string, previous: string): Promise<Epoch> {
    return this.#epochs.begin(await this.#identify(), reason, previous);
  }
}
