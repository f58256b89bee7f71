/**
 * Creates the TTL index of collections whose entries expire. The service asks for it when it saves the first entry,
 * because most deployments never save one.
 */
import { type Collection, MongoNetworkTimeoutError } from "mongodb";
import { MAJORITY_TIMEOUT_MS } from "./majority.ts";
import { STATE_TIMEOUT_MS } from "./mongo.ts";

/** The index by which MongoDB removes the entries of a collection at their `expiresAt`. */
export class ExpiryIndex {
  readonly #others: readonly Record<string, 1 | -1>[];
  #created: Promise<unknown> | undefined;

  /** @param others Further indexes that the collection needs. */
  constructor(...others: readonly Record<string, 1 | -1>[]) {
    this.#others = others;
  }

  /** Creates the indexes once. After a failure the next call tries again. */
  ensure<T extends { expiresAt: Date }>(collection: Collection<T>): Promise<unknown> {
    this.#created ??= limited(this.#create(collection)).catch((error: unknown) => {
      this.#created = undefined;
      throw error;
    });
    return this.#created;
  }

  /** One at a time: the driver drops `maxTimeMS` where several are created at once. */
  async #create<T extends { expiresAt: Date }>(collection: Collection<T>): Promise<void> {
    await collection.createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0, maxTimeMS: MAJORITY_TIMEOUT_MS });
    for (const keys of this.#others) await collection.createIndex(keys, { maxTimeMS: MAJORITY_TIMEOUT_MS });
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
