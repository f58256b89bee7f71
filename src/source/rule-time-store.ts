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
  /** The latest rule set of the database that is known to have contained the rule. */
  set?: number;
}

/** The saved times of rules, by their identities. */
export interface SavedTimes {
  readonly since: ReadonlyMap<string, bigint>;
  /** The latest rule set that contained each rule. Rules of a file are missing. */
  readonly sets: ReadonlyMap<string, number>;
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
  async load(): Promise<SavedTimes> {
    const saved = await this.#collection.find({}, MAJORITY_READ).toArray();
    const sets = saved.flatMap(({ _id, set }): [string, number][] => (set === undefined ? [] : [[_id, set]]));
    return {
      since: new Map(saved.map(({ _id, since }) => [_id, fromTimestamp(since)])),
      sets: new Map(sets),
    };
  }

  /**
   * Saves the times. If two nodes take the same edit, the later time counts.
   * @param set The rule set of these rules; `null` if they come from a file. A node that is behind changes nothing of
   *   later sets.
   */
  async save(since: ReadonlyMap<string, bigint>, set: number | null): Promise<void> {
    const gone = { _id: { $nin: [...since.keys()] } };
    const notLater = set === null ? {} : { $or: [{ set: { $exists: false } }, { set: { $lte: set } }] };
    await this.#collection.deleteMany({ ...gone, ...notLater });
    if (since.size === 0) return;
    await this.#collection.bulkWrite(
      [...since].map(([_id, time]) => {
        const update = { $max: { since: toTimestamp(time), ...(set === null ? {} : { set }) } };
        return { updateOne: { filter: { _id }, update, upsert: true } };
      }),
    );
  }
}
