/**
 * Stores the entries of presence in the state database. Clients follow the collection as live queries, so its documents
 * hold what clients see, and one field of the service's own, `node`, which no rule shows.
 */
import type { AnyBulkWriteOperation, Collection, Document } from "mongodb";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** An entry as it is saved. */
interface PresenceDocument {
  _id: string;
  room: string;
  user: string;
  /** BSON values, without any type that JSON does not have. */
  data: unknown;
  since: Date;
  /** The name of the lease under which the entry was written last. Its holder deletes the entry. */
  node: string;
}

/** A saved entry, as far as a node needs it. */
export interface SavedEntry {
  readonly data: unknown;
  readonly node: string;
}

/** A change of one entry. */
export type EntryWrite =
  | { readonly put: Omit<PresenceDocument, "since">; readonly since: Date }
  /** `node`: only as long as the entry is that of this lease. */
  | { readonly delete: string; readonly node?: string };

/** Entries that one query reads. */
const READ_MAX = 5_000;

/** The entries of all nodes. */
export class PresenceStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<PresenceDocument> {
    return this.#database.collection<PresenceDocument>("presence");
  }

  /** Makes the indexes: one for the followers of a room, one for the entries of a node that has ended. */
  async prepare(): Promise<void> {
    await this.#collection.createIndexes([{ key: { room: 1 } }, { key: { node: 1 } }]);
  }

  /** Reads those entries that exist. */
  async read(ids: readonly string[]): Promise<Map<string, SavedEntry>> {
    const options = {
      ...MAJORITY_READ,
      readPreference: "primary" as const,
      projection: { data: 1, node: 1 },
      batchSize: READ_MAX,
    };
    const found = await this.#collection.find({ _id: { $in: [...ids] } }, options).toArray();
    return new Map(found.map(({ _id, data, node }) => [_id, { data, node }]));
  }

  /** The ids of the entries of a lease, in no particular order, at most `limit` of them. */
  async idsOf(node: string, limit: number): Promise<string[]> {
    const options = { ...MAJORITY_READ, readPreference: "primary" as const, projection: { _id: 1 as const } };
    const found = await this.#collection.find({ node }, { ...options, limit, batchSize: READ_MAX }).toArray();
    return found.map(({ _id }) => _id);
  }

  /** Writes changes of different entries. To be repeated after a failure, which may have taken effect in part. */
  async write(writes: readonly EntryWrite[]): Promise<void> {
    const operations = writes.map(toOperation);
    await this.#collection.bulkWrite(operations, { ordered: false, ...MAJORITY_WRITE });
  }
}

/** An entry that is there keeps the time since when it is. Another node may have written it meanwhile. */
function toOperation(write: EntryWrite): AnyBulkWriteOperation<PresenceDocument> {
  if ("delete" in write) {
    const filter: Document = { _id: write.delete, ...(write.node === undefined ? {} : { node: write.node }) };
    return { deleteOne: { filter } };
  }
  const { _id, room, user, data, node } = write.put;
  const update = { $set: { data, node }, $setOnInsert: { room, user, since: write.since } };
  return { updateOne: { filter: { _id }, update, upsert: true } };
}
