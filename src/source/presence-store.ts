/**
 * Stores the entries of presence in the state database. Clients follow the collection as live queries, so its documents
 * hold what clients see, and one field of the service's own, `node`, which no rule shows.
 */
import type { AnyBulkWriteOperation, Collection } from "mongodb";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** An entry as it is saved. */
interface PresenceDocument {
  _id: string;
  room: string;
  user: string;
  /** Absent where all tokens have one issuer. */
  iss?: string;
  /** BSON values, without any type that JSON does not have. */
  data: unknown;
  since: Date;
  /** The name of the lease under which the entry was written last. Its holder deletes the entry. */
  node: string;
}

/** A saved entry, as far as a node needs it. */
export interface SavedEntry {
  readonly data: unknown;
  readonly iss?: string;
  readonly node: string;
}

interface EntryPut {
  readonly put: Omit<PresenceDocument, "since">;
  readonly since: Date;
}

/** A change of one entry. */
export type EntryWrite =
  | EntryPut
  /** `node`: only as long as the entry is that of this lease. */
  | { readonly delete: string; readonly node?: string };

/** Entries that one query reads. */
const READ_MAX = 5_000;
const PRIMARY_READ = { ...MAJORITY_READ, readPreference: "primary" } as const;

/** The entries of all nodes. */
export class PresenceStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<PresenceDocument> {
    return this.#database.collection<PresenceDocument>("presence");
  }

  /** Makes the indexes: one for the followers of a room, one for the entries of a node, in order. */
  async prepare(): Promise<void> {
    await this.#collection.createIndexes([{ key: { room: 1 } }, { key: { node: 1, _id: 1 } }]);
  }

  /** Reads those entries that exist. */
  async read(ids: readonly string[]): Promise<Map<string, SavedEntry>> {
    const options = { ...PRIMARY_READ, projection: { data: 1, iss: 1, node: 1 }, batchSize: READ_MAX };
    const found = await this.#collection.find({ _id: { $in: [...ids] } }, options).toArray();
    return new Map(found.map(({ _id, ...saved }) => [_id, saved]));
  }

  /** The ids of the entries of a lease in their order, at most `limit` of them, beginning after the id `after`. */
  async idsOf(node: string, after: string, limit: number): Promise<string[]> {
    const options = { ...PRIMARY_READ, projection: { _id: 1 as const }, limit, batchSize: READ_MAX };
    const found = await this.#collection
      .find({ node, _id: { $gt: after } }, options)
      .sort({ _id: 1 })
      .toArray();
    return found.map(({ _id }) => _id);
  }

  /** Those of the given entries that name one of the leases, with the lease that they name. */
  async amongThoseOf(nodes: readonly string[], ids: readonly string[]): Promise<Map<string, string>> {
    const options = { ...PRIMARY_READ, projection: { node: 1 as const }, batchSize: READ_MAX };
    const named = { _id: { $in: [...ids] }, node: { $in: [...nodes] } };
    const found = await this.#collection.find(named, options).toArray();
    return new Map(found.map(({ _id, node }) => [_id, node]));
  }

  /** The leases that any entry names. It reads one key of the index for each of them. */
  async nodes(): Promise<string[]> {
    return this.#collection.distinct("node", {}, PRIMARY_READ);
  }

  /** Writes changes of different entries. To be repeated after a failure, which may have taken effect in part. */
  async write(writes: readonly EntryWrite[]): Promise<void> {
    const operations: AnyBulkWriteOperation<PresenceDocument>[] = [];
    const deleted = new Map<string | undefined, string[]>();
    for (const write of writes) {
      if (!("delete" in write)) operations.push(toUpsert(write));
      else if (!deleted.get(write.node)?.push(write.delete)) deleted.set(write.node, [write.delete]);
    }
    // One deletion of many costs the server a fraction of many deletions.
    for (const [node, ids] of deleted) {
      const filter = { _id: { $in: ids }, ...(node === undefined ? {} : { node }) };
      operations.push({ deleteMany: { filter } });
    }
    await this.#collection.bulkWrite(operations, { ordered: false, ...MAJORITY_WRITE });
  }
}

/** An entry that is there keeps the time since when it is. Another node may have written it meanwhile. */
function toUpsert({ put, since }: EntryPut): AnyBulkWriteOperation<PresenceDocument> {
  const { _id, room, user, data, node, iss } = put;
  // An entry from before a second issuer was configured lacks `iss`.
  const set = { data, node, ...(iss === undefined ? {} : { iss }) };
  const update = { $set: set, $setOnInsert: { room, user, since } };
  return { updateOne: { filter: { _id }, update, upsert: true } };
}
