import type { Collection, Timestamp } from "mongodb";
import { fromTimestamp, toTimestamp } from "./cluster-time.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface SavedRule {
  /** The rule's identity: a digest, nothing of the rule itself. */
  _id: string;
  /** Cluster time. */
  since: Timestamp;
}

const COLLECTION = "rules";

/**
 * Remembers in the state database since when each rule has been in force, over restarts and for all nodes. A rule that
 * is no longer in force is forgotten: if it returns, it is new.
 */
export class RuleTimeStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<SavedRule> {
    return this.#database.collection<SavedRule>(COLLECTION, MAJORITY_WRITE);
  }

  /** The times of those rules that are known. */
  async load(): Promise<Map<string, bigint>> {
    const saved = await this.#collection.find({}, MAJORITY_READ).toArray();
    return new Map(saved.map(({ _id, since }) => [_id, fromTimestamp(since)]));
  }

  /** Of two nodes that take the same edit the later one counts. */
  async save(since: ReadonlyMap<string, bigint>): Promise<void> {
    await this.#collection.deleteMany({ _id: { $nin: [...since.keys()] } });
    if (since.size === 0) return;
    await this.#collection.bulkWrite(
      [...since].map(([_id, time]) => ({
        updateOne: { filter: { _id }, update: { $max: { since: toTimestamp(time) } }, upsert: true },
      })),
    );
  }
}
