import type { AnyBulkWriteOperation, Collection } from "mongodb";
import { MAJORITY_READ, MAJORITY_WRITE } from "../source/majority.ts";
import type { StateDatabase } from "../source/state-database.ts";

/** A row of an aggregate that the receiver of a sink may have. */
interface SentRowDocument {
  _id: { sink: string; key: string };
  sink: string;
  /** The run of the sink that has noted the row, or has taken it over. */
  run: number;
}

const READ = { ...MAJORITY_READ, readPreference: "primary" as const };

/** Stores which rows the receivers of aggregate sinks may have. */
export class SentRowStore {
  readonly #database: StateDatabase;

  constructor(database: StateDatabase) {
    this.#database = database;
  }

  get #rows(): Collection<SentRowDocument> {
    return this.#database.collection<SentRowDocument>("sinkRows");
  }

  async prepare(): Promise<void> {
    await this.#rows.createIndex({ sink: 1 });
  }

  /**
   * The keys of all rows of a sink. From here on no earlier run can remove one of them.
   * @param run Grows with each run of the sink.
   */
  async takeOver(sink: string, run: number): Promise<string[]> {
    await this.#rows.updateMany({ sink, run: { $lt: run } }, { $set: { run } }, MAJORITY_WRITE);
    const found = await this.#rows.find({ sink }, { ...READ, projection: { _id: 1 } }).toArray();
    return found.map(({ _id }) => _id.key);
  }

  /** Notes rows. A former holder that was frozen may note a row too many, which is reported as removed later. */
  async add(sink: string, run: number, keys: readonly string[]): Promise<void> {
    const writes = keys.map((key): AnyBulkWriteOperation<SentRowDocument> => {
      return { updateOne: { filter: { _id: { sink, key } }, update: { $set: { sink, run } }, upsert: true } };
    });
    await this.#rows.bulkWrite(writes, { ordered: false, ...MAJORITY_WRITE });
  }

  /** Forgets rows, unless a later run has taken them over. */
  async remove(sink: string, run: number, keys: readonly string[]): Promise<void> {
    const _id = { $in: keys.map((key) => ({ sink, key })) };
    await this.#rows.deleteMany({ _id, run }, MAJORITY_WRITE);
  }
}
