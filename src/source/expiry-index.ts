import type { Collection } from "mongodb";

/**
 * The index by which MongoDB removes the entries of a collection at their `expiresAt`. It is created before the first
 * entry is saved, because most deployments never save one.
 */
export class ExpiryIndex {
  #created: Promise<unknown> | undefined;

  /** Creates the index once. After a failure the next call tries again. */
  ensure<T extends { expiresAt: Date }>(collection: Collection<T>): Promise<unknown> {
    this.#created ??= collection
      .createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0 })
      .catch((error: unknown) => {
        this.#created = undefined;
        throw error;
      });
    return this.#created;
  }
}
