import { type Collection, MongoNetworkTimeoutError } from "mongodb";
import { MAJORITY_TIMEOUT_MS } from "./majority.ts";
import { STATE_TIMEOUT_MS } from "./mongo.ts";

/**
 * The index by which MongoDB removes the entries of a collection at their `expiresAt`. It is created before the first
 * entry is saved, because most deployments never save one.
 */
export class ExpiryIndex {
  #created: Promise<unknown> | undefined;

  /** Creates the index once. After a failure the next call tries again. */
  ensure<T extends { expiresAt: Date }>(collection: Collection<T>): Promise<unknown> {
    this.#created ??= limited(
      collection.createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0, maxTimeMS: MAJORITY_TIMEOUT_MS }),
    ).catch((error: unknown) => {
      this.#created = undefined;
      throw error;
    });
    return this.#created;
  }
}

/** Without a limit of its own, one attempt that the driver leaves pending would fail every later call as well. */
async function limited(attempt: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const text = `the index was not created within ${STATE_TIMEOUT_MS} ms`;
    const fail = () => reject(new MongoNetworkTimeoutError(text));
    timer = setTimeout(fail, STATE_TIMEOUT_MS);
  });
  attempt.catch(() => {}); // The caller learns of a late failure by the limit.
  try {
    await Promise.race([attempt, late]);
  } finally {
    clearTimeout(timer);
  }
}
