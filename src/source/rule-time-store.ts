/**
 * Stores when each rule took effect. A ticket is only as good as the rules that were in force when it was issued, and a
 * node that restarts must not mistake an old rule for a new one.
 */
import type { Collection, Timestamp } from "mongodb";
import { fromTimestamp, toTimestamp } from "./cluster-time.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

interface SavedRule {
  /** The identity of the rule: a digest that reveals nothing of the rule. */
  _id: string;
  /** The cluster time at which the rule took effect. */
  since: Timestamp;
}

const COLLECTION = "rules";

/**
 * Records in the state database since when each rule has been in force, across restarts and for all nodes. A rule that
 * is no longer in force is removed: if it returns, it counts as new.
 */
export class RuleTimeStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<SavedRule> {
    return this.#database.collection<SavedRule>(COLLECTION, MAJORITY_WRITE);
  }

  /** The times of the rules that are known. */
  async load(): Promise<Map<string, bigint>> {
    const saved = await this.#collection.find({}, MAJORITY_READ).toArray();
    return new Map(saved.map(({ _id, since }) => [_id, fromTimestamp(since)]));
  }

  /** Saves the times. If two nodes take the same edit, the later time counts. */
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
