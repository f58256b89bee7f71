/**
 * Records single-use keys. A key appears in a URL and so in logs; a second use on another node must fail as well, so
 * the record is shared.
 */
import type { Collection } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface SpentKey {
  _id: string;
  expiresAt: Date;
}

/** Keys that may not be used again. MongoDB removes an entry once its key would be too old anyway. */
const COLLECTION = "spentKeys";
/** MongoDB's error code for a unique index that already contains the value. */
const DUPLICATE_KEY = 11_000;

/** Records used single-use keys in the state database, so that all nodes together accept each key once. */
export class SpentKeyStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<SpentKey> {
    return this.#database.collection<SpentKey>(COLLECTION);
  }

  /**
   * Uses a key up. The write needs a majority, because a failover must not make the key valid again.
   * @param expiresAtMs From when on the key is invalid in any case, in epoch milliseconds.
   * @returns `false` if it was used before.
   */
  async spend(id: string, expiresAtMs: number): Promise<boolean> {
    await this.#expiry.ensure(this.#collection);
    // The unique `_id` decides between two nodes that redeem the same key at the same moment.
    try {
      const spent = { _id: id, expiresAt: new Date(expiresAtMs) };
      await this.#collection.insertOne(spent, MAJORITY_WRITE);
      return true;
    } catch (error) {
      if ((error as { code?: number }).code === DUPLICATE_KEY) return false;
      throw error;
    }
  }
}
