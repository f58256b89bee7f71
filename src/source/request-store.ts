/**
 * Stores distinct requests of clients for replays: what was asked, and the claims by which rules judged it. It holds no
 * documents. The number of requests and their age are limited.
 */
import type { Collection } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { STATE_TIMEOUT_MS } from "./mongo.ts";
import type { StateDatabase } from "./state-database.ts";

const COLLECTION = "requests";

/** How many requests are kept. The ones that were not made for the longest time are removed first. */
export const REQUESTS_MAX = 10_000;

/** Requests that are read at once. Decoding all of them in one turn would delay clients. */
const READ_BATCH = 500;

/** A request as text, which keeps the order of its keys and names that begin with `$`. */
export interface SavedRequest {
  /** A digest of the text: equal requests are one. */
  readonly id: string;
  readonly text: string;
}

interface RequestDocument {
  _id: string;
  text: string;
  expiresAt: Date;
}

/** Recorded requests, in the state database. */
export class RequestStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<RequestDocument> {
    return this.#database.collection<RequestDocument>(COLLECTION);
  }

  /** Saves requests that were made now, and removes the oldest beyond the limit. */
  async save(requests: readonly SavedRequest[], expiresAt: Date): Promise<void> {
    await this.#expiry.ensure(this.#collection);
    // Not with a majority: a record that is lost costs a replay one request.
    const { upsertedCount } = await this.#collection.bulkWrite(
      requests.map(({ id, text }) => ({
        updateOne: {
          filter: { _id: id },
          update: { $max: { expiresAt }, $setOnInsert: { text } },
          upsert: true,
        },
      })),
      { ordered: false },
    );
    if (upsertedCount > 0) await this.#trim();
  }

  /** The requests, the latest first. */
  async all(nowMs: number): Promise<string[]> {
    const found = await this.#collection
      .find({ expiresAt: { $gt: new Date(nowMs) } }, { maxTimeMS: STATE_TIMEOUT_MS })
      .sort({ expiresAt: -1 })
      .limit(REQUESTS_MAX)
      .batchSize(READ_BATCH)
      .toArray();
    return found.map(({ text }) => text);
  }

  /** By `_id`, because many requests of one batch expire at the same moment. */
  async #trim(): Promise<void> {
    const beyond = await this.#collection
      .find({}, { projection: { _id: 1 }, maxTimeMS: STATE_TIMEOUT_MS })
      .sort({ expiresAt: -1, _id: 1 })
      .skip(REQUESTS_MAX)
      .limit(REQUESTS_MAX)
      .toArray();
    if (beyond.length > 0) await this.#collection.deleteMany({ _id: { $in: beyond.map(({ _id }) => _id) } });
  }
}
