import type { Collection } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface SpentKey {
  _id: string;
  expiresAt: Date;
}

/** Keys that nobody may use any more. MongoDB removes an entry once its key would be too old anyway. */
const COLLECTION = "spentKeys";
/** MongoDB's error code of a unique index that holds the value already. */
const DUPLICATE_KEY = 11_000;

/** Remembers in the state database which single-use keys were used, so that each is taken once by all nodes together. */
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
   * Uses a key up. Majority, since a failover must not bring it back.
   * @param expiresAtMs When it cannot be used any more in any case, in epoch milliseconds.
   * @returns `false` if it was used before.
   */
  async spend(id: string, expiresAtMs: number): Promise<boolean> {
    await this.#expiry.ensure(this.#collection);
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
