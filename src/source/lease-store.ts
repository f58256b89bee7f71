/** Stores leases in the state database. Each method is one atomic operation on the document of one lease. */
import {
  type Collection,
  type Document,
  type Filter,
  Long,
  MongoServerError,
  type UpdateFilter,
} from "mongodb";
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
  /** Whether the holder may have items. */
  hasItems?: boolean;
  /** The items that were removed last, in order, at most `REMOVED_MAX`. */
  removed?: string[];
  /** How many items were removed. */
  removals?: Long;
}

/** A lease in a list of leases. */
export interface ListedLease extends SeenLease {
  readonly name: string;
  /** Whether the holder may have items. */
  readonly hasItems: boolean;
  /** How many items were removed. It never becomes smaller. */
  readonly removals: bigint;
}

/** The items that were removed from a lease since it was seen. */
export interface RemovedItems {
  readonly name: string;
  readonly removals: bigint;
  /** `null` if there are more than the lease keeps. */
  readonly items: readonly string[] | null;
}

/** The answer of `itemsAmong`. */
export interface FoundItems {
  readonly items: ReadonlySet<string>;
  /** The names of all leases that were read. */
  readonly names: ReadonlySet<string>;
}

/** A change of the items of a lease. An update makes one or the other. */
export type ItemsChange = { readonly add: readonly string[] } | { readonly remove: readonly string[] };

/** The state of a lease, and the data that its holders have saved. */
export interface StoredLease extends SeenLease {
  readonly data: Document | null;
}

const NO_DECODING_TO_NUMBERS = { promoteLongs: false } as const;

/** A lease keeps this many of the items that were removed last. They take about 60 KB of its document. */
export const REMOVED_MAX = 2_000;

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
   * @param hasItems Whether the new holder may have items.
   * @returns The lease under its new holder; `null` if it has changed meanwhile.
   */
  async take(
    name: string,
    seen: SeenLease | null,
    holder: string,
    ttlMs: number,
    hasItems = false,
  ): Promise<StoredLease | null> {
    if (seen === null) return this.#insert(name, holder, ttlMs, hasItems);
    const asSeen = {
      _id: name,
      fence: Long.fromBigInt(seen.fence),
      renewals: Long.fromBigInt(seen.renewals),
    };
    const update = {
      $set: { holder, ttlMs, hasItems },
      $inc: { fence: Long.ONE, renewals: Long.ONE },
      $unset: { items: "" as const, removed: "" as const },
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

  /**
   * Like `renew`, with a change of the items. To be repeated after a failure, which may have taken effect.
   * @param holder Part of the condition: a lease that was removed, and made again by another process, has the same fence.
   */
  async renewItems(
    { name, fence, holder }: { readonly name: string; readonly fence: bigint; readonly holder: string },
    change: ItemsChange | null,
  ): Promise<boolean> {
    const filter = { _id: name, fence: Long.fromBigInt(fence), holder };
    if (change === null) return this.#updateOne(filter, {});
    if ("add" in change) return this.#updateOne(filter, { $push: { items: { $each: [...change.add] } } });
    const { matchedCount } = await this.#collection.updateOne(
      filter,
      [{ $set: withoutItems(change.remove) }],
      MAJORITY_WRITE,
    );
    return matchedCount === 1;
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
      .find(namesWith(prefix), { ...options, projection: { data: 0, items: 0, removed: 0 } })
      .toArray();
    return found.map((lease) => ({
      ...toLease(lease),
      name: lease._id,
      hasItems: lease.hasItems === true,
      removals: lease.removals?.toBigInt() ?? 0n,
    }));
  }

  /**
   * The items that were removed from leases.
   * @param since For each name the number of removals that is known already.
   */
  async removedItems(since: ReadonlyMap<string, bigint>): Promise<RemovedItems[]> {
    const options = { ...MAJORITY_READ, ...NO_DECODING_TO_NUMBERS, readPreference: "primary" as const };
    const known = [...since.values()].map((removals) => Long.fromBigInt(removals));
    const before = {
      $arrayElemAt: [{ $literal: known }, { $indexOfArray: [{ $literal: [...since.keys()] }, "$_id"] }],
    };
    // A slice of no items is an error, and so is one of more than 2^31.
    const count = { $max: [-REMOVED_MAX, { $min: [-1, { $subtract: [before, "$removals"] }] }] };
    const $slice = [{ $ifNull: ["$removed", []] }, count];
    const found = await this.#collection
      .aggregate<{ _id: string; removals: Long; removed: string[] }>(
        [{ $match: { _id: { $in: [...since.keys()] } } }, { $project: { removals: 1, removed: { $slice } } }],
        options,
      )
      .toArray();
    return found.map(({ _id, removals, removed }) => {
      const count = removals.toBigInt() - (since.get(_id) ?? 0n);
      const items = count > BigInt(removed.length) ? null : removed;
      return { name: _id, removals: removals.toBigInt(), items };
    });
  }

  /** Those of the given items that any lease has whose name begins with `prefix`. */
  async itemsAmong(prefix: string, items: readonly string[]): Promise<FoundItems> {
    const options = { ...MAJORITY_READ, readPreference: "primary" as const };
    const $setIntersection = [{ $ifNull: ["$items", []] }, { $literal: items }];
    const found = await this.#collection
      .aggregate<{ _id: string; items: string[] }>(
        [{ $match: namesWith(prefix) }, { $project: { items: { $setIntersection } } }],
        options,
      )
      .toArray();
    return {
      items: new Set(found.flatMap((lease) => lease.items)),
      names: new Set(found.map(({ _id }) => _id)),
    };
  }

  /** Removes a lease that nobody needs any more. Another holder keeps it. */
  async remove(name: string, fence: bigint): Promise<void> {
    await this.#collection.deleteOne({ _id: name, fence: Long.fromBigInt(fence) }, MAJORITY_WRITE);
  }

  /** Lets another process take the lease at once. */
  async release(name: string, fence: bigint): Promise<void> {
    await this.#update(name, fence, { holder: null });
  }

  async #update(name: string, fence: bigint, set: Document): Promise<boolean> {
    return this.#updateOne(
      { _id: name, fence: Long.fromBigInt(fence) },
      Object.keys(set).length === 0 ? {} : { $set: set },
    );
  }

  async #updateOne(filter: Filter<LeaseDocument>, update: UpdateFilter<LeaseDocument>): Promise<boolean> {
    const renewed = { ...update, $inc: { renewals: Long.ONE }, $currentDate: { at: true as const } };
    const { matchedCount } = await this.#collection.updateOne(filter, renewed, MAJORITY_WRITE);
    return matchedCount === 1;
  }

  async #insert(name: string, holder: string, ttlMs: number, hasItems: boolean): Promise<StoredLease | null> {
    const first = {
      _id: name,
      holder,
      fence: Long.ONE,
      renewals: Long.ONE,
      ttlMs,
      data: null,
      at: new Date(),
      hasItems,
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

/**
 * A renewal that removes items, as the fields of an update pipeline. `$pullAll` compares each item with each removed one:
 * to remove 500 of 50,000 took it 12 s, and `$setDifference` 0.3 s.
 */
function withoutItems(remove: readonly string[]): Document {
  const removed = {
    $concatArrays: [{ $ifNull: ["$removed", []] }, { $literal: remove.slice(-REMOVED_MAX) }],
  };
  return {
    items: { $setDifference: [{ $ifNull: ["$items", []] }, { $literal: remove }] },
    removed: { $slice: [removed, -REMOVED_MAX] },
    removals: { $add: [{ $ifNull: ["$removals", Long.ZERO] }, Long.fromNumber(remove.length)] },
    renewals: { $add: ["$renewals", Long.ONE] },
    at: "$$NOW",
  };
}

const toLease = ({ holder, fence, renewals, ttlMs, data }: LeaseDocument): StoredLease => ({
  holder,
  fence: fence.toBigInt(),
  renewals: renewals.toBigInt(),
  ttlMs: Number(ttlMs),
  data,
});
