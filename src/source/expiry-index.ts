/**
 * Creates the TTL index of collections whose entries expire. The service asks for it when it saves the first entry,
 * because most deployments never save one.
 */
import { type Collection, MongoNetworkTimeoutError } from "mongodb";
import { MAJORITY_TIMEOUT_MS } from "./majority.ts";
import { STATE_TIMEOUT_MS } from "./mongo.ts";

/** The index by which MongoDB removes the entries of a collection at their `expiresAt`. */
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

/**
 * Limits the wait. The attempt is shared, so one operation that the driver leaves pending would otherwise block every
 * later call.
 */
async function limited(attempt: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const text = `the index was not created within ${STATE_TIMEOUT_MS} ms`;
    const fail = () => reject(new MongoNetworkTimeoutError(text));
    timer = setTimeout(fail, STATE_TIMEOUT_MS);
  });
  attempt.catch(() => {}); // After the limit the caller has its error already.
  try {
    await Promise.race([attempt, late]);
  } finally {
    clearTimeout(timer);
  }
}
