/**
 * Keeps keys for `EventSource`. A key appears in a URL and therefore in logs, so a second use must fail on every node,
 * and all nodes share the keys. The claims are stored here and not in the key, because a URL must be short.
 */
import type { Collection } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_TIMEOUT_MS, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** A key for `EventSource` as the state database stores it, without the key itself. */
export interface SavedUrlKey {
  /** The SHA-256 of the key, in base64url. */
  readonly id: string;
  /** A digest of the user. The number of keys per user is limited. */
  readonly user: string;
  /** The identity, sealed under the key. */
  readonly sealed: string;
  readonly isUsed: boolean;
}

interface UrlKeyDocument {
  _id: string;
  user: string;
  sealed: string;
  /** When the key was issued or last used: a user's oldest keys are evicted first. */
  touchedAt: Date;
  isUsed: boolean;
  expiresAt: Date;
}

const COLLECTION = "urlKeys";
/** Finds the oldest keys of a user. */
const BY_USER = { user: 1, touchedAt: -1 } as const;
/** The most keys evicted at once. There are more only after `auth.urlKeysPerUser` was lowered. */
const EVICTED_AT_ONCE = 1_000;

/** Keys in the state database. Each opens one stream, whatever the node. */
export class UrlKeyStore {
  readonly #database: StateDatabase;
  readonly #indexes = new ExpiryIndex(BY_USER);

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<UrlKeyDocument> {
    return this.#database.collection<UrlKeyDocument>(COLLECTION);
  }

  /**
   * Saves a key that was not used yet.
   * @param expiresAtMs When MongoDB may remove it, in epoch milliseconds.
   * @param limit How many keys the user may hold. If there are more, the oldest are evicted.
   * @returns The number of evicted keys.
   */
  async add(
    key: Omit<SavedUrlKey, "isUsed">,
    nowMs: number,
    expiresAtMs: number,
    limit: number,
  ): Promise<number> {
    await this.#indexes.ensure(this.#collection);
    const { id, user, sealed } = key;
    const [touchedAt, expiresAt] = [new Date(nowMs), new Date(expiresAtMs)];
    await this.#collection.insertOne(
      { _id: id, user, sealed, touchedAt, isUsed: false, expiresAt },
      MAJORITY_WRITE,
    );
    const surplus = await this.#collection
      .find({ user }, { projection: { _id: 1 }, maxTimeMS: MAJORITY_TIMEOUT_MS })
      .sort(BY_USER)
      .skip(limit)
      .limit(EVICTED_AT_ONCE)
      .toArray();
    if (surplus.length === 0) return 0;
    const evicted = { _id: { $in: surplus.map(({ _id }) => _id) } };
    return (await this.#collection.deleteMany(evicted, MAJORITY_WRITE)).deletedCount;
  }

  /** `null` for a key that was never issued, has expired, or was evicted. */
  async find(id: string): Promise<SavedUrlKey | null> {
    const found = await this.#collection.findOne({ _id: id }, { maxTimeMS: MAJORITY_TIMEOUT_MS });
    if (found === null) return null;
    const { _id, user, sealed, isUsed } = found;
    return { id: _id, user, sealed, isUsed };
  }

  /**
   * Uses a key. The write needs a majority, because a failover must not make the key unused again.
   * @param expiresAtMs Until when reconnections of its stream may need it, in epoch milliseconds.
   * @returns `false` if it was used before, or is gone.
   */
  async spend(id: string, nowMs: number, expiresAtMs: number): Promise<boolean> {
    const used = { isUsed: true, touchedAt: new Date(nowMs), expiresAt: new Date(expiresAtMs) };
    const { matchedCount } = await this.#collection.updateOne(
      { _id: id, isUsed: false },
      { $set: used },
      MAJORITY_WRITE,
    );
    return matchedCount === 1;
  }

  /** Keeps a used key for longer, because a reconnection of its stream has used it again. */
  async keep(id: string, nowMs: number, expiresAtMs: number): Promise<void> {
    const kept = { touchedAt: new Date(nowMs), expiresAt: new Date(expiresAtMs) };
    await this.#collection.updateOne({ _id: id, isUsed: true }, { $set: kept });
  }
}
