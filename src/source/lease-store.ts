/** Stores leases in the state database. Each method is one atomic operation on the document of one lease. */
import { type Collection, type Document, Long, MongoServerError } from "mongodb";
import type { SeenLease } from "./lease-watch.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface LeaseDocument {
  _id: string;
  holder: string | null;
  fence: Long;
  renewals: Long;
  ttlMs: number;
  /** Saved by the holders, for their successors. */
  data: Document | null;
  /** The server's time of the last renewal. Admins read it; no decision uses it. */
  at: Date;
  /** The things that the holder works on, if other processes must know them. They end with the holder. */
  items?: string[];
  /** Grows whenever items are removed. */
  removals?: Long;
}

/** A lease in a list of leases. */
export interface ListedLease extends SeenLease {
  readonly name: string;
  readonly removals: bigint;
}

/** A change of the items of a lease. MongoDB takes one or the other in an update. */
export type ItemsChange = { readonly add: readonly string[] } | { readonly remove: readonly string[] };

/** The state of a lease, and the data that its holders have saved. */
export interface StoredLease extends SeenLease {
  readonly data: Document | null;
}

const NO_DECODING_TO_NUMBERS = { promoteLongs: false } as const;

/** The leases of all nodes. Writes wait for a majority, because a lease that is rolled back would have two holders. */
export class LeaseStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<LeaseDocument> {
    return this.#database.collection<LeaseDocument>("leases");
  }

  async read(name: string): Promise<StoredLease | null> {
    const options = { ...MAJORITY_READ, ...NO_DECODING_TO_NUMBERS, readPreference: "primary" as const };
    const found = await this.#collection.findOne({ _id: name }, options);
    return found === null ? null : toLease(found);
  }

  /**
   * Takes a lease, if it is still exactly as it was seen.
   * @param seen `null` if the lease did not exist.
   * @returns The lease under its new holder; `null` if it has changed meanwhile.
   */
  async take(
    name: string,
    seen: SeenLease | null,
    holder: string,
    ttlMs: number,
  ): Promise<StoredLease | null> {
    if (seen === null) return this.#insert(name, holder, ttlMs);
    const asSeen = {
      _id: name,
      fence: Long.fromBigInt(seen.fence),
      renewals: Long.fromBigInt(seen.renewals),
    };
    const update = {
      $set: { holder, ttlMs },
      $inc: { fence: Long.ONE, renewals: Long.ONE },
      $unset: { items: "" as const },
      $currentDate: { at: true as const },
    };
    const taken = await this.#collection.findOneAndUpdate(asSeen, update, {
      returnDocument: "after",
      ...MAJORITY_WRITE,
      ...NO_DECODING_TO_NUMBERS,
    });
    return taken === null ? null : toLease(taken);
  }

  /**
   * Counts a sign of life of the holder, and saves its data if some are given.
   * @returns Whether the lease is still that of `fence`.
   */
  async renew(name: string, fence: bigint, data?: Document): Promise<boolean> {
    return this.#update(name, fence, data === undefined ? {} : { data });
  }

  /** Like `renew`, with a change of the items. To be repeated after a failure, which may have taken effect. */
  async renewItems(name: string, fence: bigint, change: ItemsChange | null): Promise<boolean> {
    if (change === null) return this.#update(name, fence, {});
    if ("add" in change)
      return this.#update(name, fence, {}, { $push: { items: { $each: [...change.add] } } });
    return this.#update(name, fence, {}, { $pullAll: { items: [...change.remove] } }, { removals: Long.ONE });
  }

  /**
   * Counts a sign of life for all leases of a holder whose names begin with `prefix`. Other leases of the same process
   * have terms of their own: a lease whose term has ended must not seem alive.
   */
  async renewAll(prefix: string, holder: string): Promise<void> {
    const update = { $inc: { renewals: Long.ONE }, $currentDate: { at: true as const } };
    await this.#collection.updateMany({ ...namesWith(prefix), holder }, update, MAJORITY_WRITE);
  }

  /** Releases all leases of a holder whose names begin with `prefix`. */
  async releaseAll(prefix: string, holder: string): Promise<void> {
    const update = { $set: { holder: null }, $inc: { renewals: Long.ONE } };
    await this.#collection.updateMany({ ...namesWith(prefix), holder }, update, MAJORITY_WRITE);
  }

  /** All leases whose names begin with `prefix`, without data and items. */
  async list(prefix: string): Promise<ListedLease[]> {
    const options = { ...MAJORITY_READ, ...NO_DECODING_TO_NUMBERS, readPreference: "primary" as const };
    const found = await this.#collection
      .find(namesWith(prefix), { ...options, projection: { data: 0, items: 0 } })
      .toArray();
    return found.map((lease) => ({
      ...toLease(lease),
      name: lease._id,
      removals: lease.removals?.toBigInt() ?? 0n,
    }));
  }

  /** Those of the given items that any lease has whose name begins with `prefix`. */
  async itemsAmong(prefix: string, items: readonly string[]): Promise<Set<string>> {
    const options = { ...MAJORITY_READ, readPreference: "primary" as const };
    const $setIntersection = [{ $ifNull: ["$items", []] }, { $literal: items }];
    const found = await this.#collection
      .aggregate<{ items: string[] }>(
        [{ $match: namesWith(prefix) }, { $project: { items: { $setIntersection } } }],
        options,
      )
      .toArray();
    return new Set(found.flatMap((lease) => lease.items));
  }

  /** Removes a lease that nobody needs any more. Another holder keeps it. */
  async remove(name: string, fence: bigint): Promise<void> {
    await this.#collection.deleteOne({ _id: name, fence: Long.fromBigInt(fence) }, MAJORITY_WRITE);
  }

  /** Lets another process take the lease at once. */
  async release(name: string, fence: bigint): Promise<void> {
    await this.#update(name, fence, { holder: null });
  }

  async #update(
    name: string,
    fence: bigint,
    set: Document,
    items: Document = {},
    counted: Document = {},
  ): Promise<boolean> {
    const update = {
      ...(Object.keys(set).length === 0 ? {} : { $set: set }),
      ...items,
      $inc: { renewals: Long.ONE, ...counted },
      $currentDate: { at: true as const },
    };
    const { matchedCount } = await this.#collection.updateOne(
      { _id: name, fence: Long.fromBigInt(fence) },
      update,
      MAJORITY_WRITE,
    );
    return matchedCount === 1;
  }

  async #insert(name: string, holder: string, ttlMs: number): Promise<StoredLease | null> {
    const first = {
      _id: name,
      holder,
      fence: Long.ONE,
      renewals: Long.ONE,
      ttlMs,
      data: null,
      at: new Date(),
    };
    try {
      await this.#collection.insertOne(first, MAJORITY_WRITE);
      return toLease(first);
    } catch (error) {
      if (error instanceof MongoServerError && error.code === 11_000) return null; // another process was faster
      throw error;
    }
  }
}

/** All names with a prefix. */
const namesWith = (prefix: string) => ({ _id: { $gte: prefix, $lt: `${prefix}\uffff` } });

const toLease = ({ holder, fence, renewals, ttlMs, data }: LeaseDocument): StoredLease => ({
  holder,
  fence: fence.toBigInt(),
  renewals: renewals.toBigInt(),
  ttlMs: Number(ttlMs),
  data,
});
