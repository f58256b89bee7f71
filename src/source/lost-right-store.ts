/**
 * Stores lost rights. A client that reconnects with a new token may hold a ticket from an older one that granted more,
 * and the node that answers may never have seen either token. Without this record the ticket would resume a
 * subscription across the time in which the user had no right.
 */
import type { Collection, Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface LostRight {
  /** A digest of the user and the collection. It reveals neither. */
  _id: string;
  /** The cluster time of the loss. */
  at: Timestamp;
  /** Random, and different for each loss. */
  mark: string;
  expiresAt: Date;
}

const COLLECTION = "lostRights";

/** A right that a user lost by a token. */
export interface SavedLoss {
  /** The cluster time of the loss. */
  readonly at: bigint;
  readonly mark: string;
}

/**
 * Records in the state database when a token of a user did not grant a right that an older one granted, across restarts
 * and for all nodes. An entry expires with the last ticket that it concerns.
 */
export class LostRightStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<LostRight> {
    return this.#database.collection<LostRight>(COLLECTION);
  }

  /**
   * Saves that these rights are lost now, each with its mark. The server supplies the time, so it is later than every
   * position that any node has reached. The write needs a majority, because a failover must not restore a right.
   */
  async save(marks: ReadonlyMap<string, string>, expiresAt: Date): Promise<void> {
    await this.#expiry.ensure(this.#collection);
    const at = { $max: ["$at", "$$CLUSTER_TIME"] };
    await this.#collection.bulkWrite(
      [...marks].map(([_id, mark]) => {
        const update = [{ $set: { at, mark: { $literal: mark }, expiresAt } }];
        return { updateOne: { filter: { _id }, update, upsert: true } };
      }),
      { ordered: false, ...MAJORITY_WRITE },
    );
  }

  /** The losses among these rights. */
  async load(ids: readonly string[]): Promise<Map<string, SavedLoss>> {
    const found = this.#collection.find({ _id: { $in: [...ids] } }, MAJORITY_READ);
    return new Map(
      (await found.toArray()).map(({ _id, at, mark }) => [_id, { at: fromTimestamp(at), mark }]),
    );
  }
}
