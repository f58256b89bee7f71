/**
 * Keeps the limit of registrations for each user, over all nodes. A document for each user has the ids of the registrations
 * that are being made at this moment. A node adds one by compare-and-set, after it has counted those that exist and those that are
 * being made. So of two nodes that count at the same time, one counts again.
 */
import { type Collection, MongoServerError } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface UserDocument {
  /** The digest of the user. */
  _id: string;
  /** Grows with each change. */
  revision: number;
  /** The registrations that are being made, with the server's time of their beginning. */
  pending: { id: string; at: Date }[];
  expiresAt: Date;
}

/**
 * The place of a registration is free again after this time, in milliseconds, if it was never made, because the
 * node has ended. A write takes effect long before, or never.
 */
const PENDING_MS = 60_000;
/** Documents of users are kept this long after their last change, in milliseconds, far longer than any attempt takes. */
const KEPT_MS = 86_400_000;

/** The registrations of a user that the state database contains, by their ids. */
export interface MadeRegistrations {
  readonly existing: readonly string[];
  /** Those that were removed or have expired, and that no node has erased so far. */
  readonly leaving: readonly string[];
}

/**
 * How many documents a user has at most, as a multiple of the places. A user may replace a removed registration at once. But documents that are removed faster than nodes erase them count for the limit of all users.
 */
const DOCUMENTS_PER_PLACE = 2;

/** The places of registrations that are being made, in the state database. */
export class PushPlaces {
  readonly #database: StateDatabase;
  readonly #indexes = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<UserDocument> {
    return this.#database.collection<UserDocument>("pushUsers");
  }

  /**
   * Takes a place for a registration.
   * @param most The number of places of the user.
   * @param made Reads the user's registrations, from a majority.
   * @returns Whether there was one.
   */
  async take(
    subject: string,
    id: string,
    most: number,
    made: () => Promise<MadeRegistrations>,
  ): Promise<boolean> {
    await this.#indexes.ensure(this.#collection);
    for (;;) {
      const seen = await this.#read(subject);
      // After the document: a registration that has left `pending` since is among these.
      const found = await made();
      const existing = new Set(found.existing);
      const pending = (seen?.pending ?? []).filter((one) => one.id !== id && !existing.has(one.id));
      existing.delete(id);
      const taken = existing.size + pending.length;
      const leaving = found.leaving.filter((one) => one !== id).length;
      if (taken >= most || taken + leaving >= DOCUMENTS_PER_PLACE * most) return false;
      if (await this.#add(subject, id, seen?.revision ?? null, pending)) return true;
    }
  }

  /** The registration exists now, or never will. */
  async release(subject: string, id: string): Promise<void> {
    const update = { $pull: { pending: { id } }, $inc: { revision: 1 } };
    await this.#collection.updateOne({ _id: subject }, update, MAJORITY_WRITE);
  }

  async #read(subject: string): Promise<Pick<UserDocument, "revision" | "pending"> | null> {
    const isRecent = { $gt: ["$$one.at", { $subtract: ["$$NOW", PENDING_MS] }] };
    const pending = { $filter: { input: "$pending", as: "one", cond: isRecent } };
    const options = { ...MAJORITY_READ, readPreference: "primary" as const };
    const found = await this.#collection
      .aggregate<UserDocument>(
        [{ $match: { _id: subject } }, { $project: { revision: 1, pending } }],
        options,
      )
      .toArray();
    return found[0] ?? null;
  }

  /** @returns `false` if another node was faster. */
  async #add(
    subject: string,
    id: string,
    revision: number | null,
    pending: UserDocument["pending"],
  ): Promise<boolean> {
    const set = {
      revision: (revision ?? 0) + 1,
      pending: { $concatArrays: [{ $literal: pending }, [{ id: { $literal: id }, at: "$$NOW" }]] },
      expiresAt: { $add: ["$$NOW", KEPT_MS] },
    };
    // A document that exists has another revision than 0, so that the insertion is refused.
    const asSeen = { _id: subject, revision: revision ?? 0 };
    try {
      const options = { upsert: revision === null, ...MAJORITY_WRITE };
      const { matchedCount, upsertedCount } = await this.#collection.updateOne(
        asSeen,
        [{ $set: set }],
        options,
      );
      return matchedCount + upsertedCount > 0;
    } catch (error) {
      if (error instanceof MongoServerError && error.code === 11_000) return false;
      throw error;
    }
  }
}
