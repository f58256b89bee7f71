import type { Collection, Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import type { StateDatabase } from "./mongo.ts";

interface LostRight {
  /** A digest of the user and the collection; nothing of either. */
  _id: string;
  /** Cluster time. */
  at: Timestamp;
  expiresAt: Date;
}

const COLLECTION = "lostRights";

/**
 * Remembers in the state database when a token of a user did not give a right that an older one gave, over restarts
 * and for all nodes. An entry expires with the last ticket that it concerns.
 */
export class LostRightStore {
  readonly #database: StateDatabase;
  #indexed: Promise<unknown> | undefined;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<LostRight> {
    return this.#database.collection<LostRight>(COLLECTION);
  }

  /**
   * Saves that these rights are lost now. The server gives the time, so that it is later than every position which any
   * node has reached. Majority, since a failover must not bring a right back.
   */
  async save(ids: readonly string[], expiresAt: Date): Promise<void> {
    await this.#ensureIndex();
    const update = [{ $set: { at: { $max: ["$at", "$$CLUSTER_TIME"] }, expiresAt } }];
    await this.#collection.bulkWrite(
      ids.map((_id) => ({ updateOne: { filter: { _id }, update, upsert: true } })),
      { ordered: false, writeConcern: { w: "majority" } },
    );
  }

  /** The cluster times of those that were lost. */
  async load(ids: readonly string[]): Promise<Map<string, bigint>> {
    const found = this.#collection.find({ _id: { $in: [...ids] } }, { readConcern: { level: "majority" } });
    return new Map((await found.toArray()).map(({ _id, at }) => [_id, fromTimestamp(at)]));
  }

  /** Made with the first right that is lost: most deployments never lose one by a token. */
  #ensureIndex(): Promise<unknown> {
    this.#indexed ??= this.#collection
      .createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0 })
      .catch((error: unknown) => {
        this.#indexed = undefined;
        throw error;
      });
    return this.#indexed;
  }
}
