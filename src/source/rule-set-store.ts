/**
 * Stores rule sets. A set never changes once it is saved, so a node can read it at any time and gets what every other
 * node gets. Only the document that names the set in force is replaced, and only by a writer who has seen the set that
 * it replaces.
 */

import { BSON, type Collection, type Filter } from "mongodb";
import { z } from "zod";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import { MAJORITY_READ, MAJORITY_TIMEOUT_MS, MAJORITY_WRITE, mayStillHappen } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** The name of the collection in the state database, without the prefix that it may have. */
export const RULE_SETS = "ruleSets";
/** The `_id` of the document that names the set in force. Sets have numbers. */
export const IN_FORCE = "inForce";

/**
 * Version of the documents. A node refuses a set of another version: it must not guess the meaning of rules.
 */
const FORMAT = 1;

/** The tests of a set, as they ran when it was saved. */
export interface RuleSetTestResult {
  readonly tests: number;
  readonly failed: number;
}

/**
 * The content of a rule set. `collections` and `tests` are YAML text, not BSON: their keys begin with `$` and contain
 * dots, drivers reorder keys such as `"1"`, and the text keeps the comments of the author.
 */
export interface RuleSetDraft {
  readonly collections: string;
  /** Empty if there are none. */
  readonly tests: string;
  readonly author: string;
  readonly message: string;
  readonly at: Date;
  /** The set that was in force when this one was made; 0 for the first. */
  readonly parent: number;
  /** The effect that was computed before the set was saved, for display; `null` if it was too large to keep. */
  readonly plan: unknown;
  /** `null` if the set has no tests. */
  readonly testResult: RuleSetTestResult | null;
}

/** A saved set without its content, as a list shows it. */
export type RuleSetSummary = Pick<
  SavedRuleSet,
  "number" | "author" | "message" | "at" | "parent" | "testResult"
>;

/** A saved rule set. */
export interface SavedRuleSet extends RuleSetDraft {
  readonly number: number;
}

/** The set in force. */
export interface InForce {
  readonly set: number;
  readonly parent: number;
}

const SetDocument = z.object({
  _id: z.int(),
  format: z.literal(FORMAT, { error: `it has another format than ${FORMAT}: update this node` }),
  collections: z.string(),
  tests: z.string(),
  author: z.string(),
  message: z.string(),
  at: z.date(),
  parent: z.int(),
  plan: z.unknown(),
  testResult: z.object({ tests: z.int(), failed: z.int() }).nullable(),
});
const SummaryDocument = SetDocument.pick({
  _id: true,
  author: true,
  message: true,
  at: true,
  parent: true,
  testResult: true,
});
/** The fields of a summary, for MongoDB. */
const SUMMARY = { author: 1, message: 1, at: 1, parent: 1, testResult: 1 } as const;
const InForceDocument = z.object({ _id: z.literal(IN_FORCE), set: z.int(), parent: z.int() });
interface AnyDocument {
  _id: number | typeof IN_FORCE;
}
interface InForceRecord extends AnyDocument {
  set: number;
  parent: number;
  at: Date;
}

/**
 * Reads a saved set.
 * @throws {Error} The document is no rule set of this version.
 */
export function parseRuleSet(raw: Uint8Array): SavedRuleSet {
  const parsed = parseUntrusted(SetDocument, BSON.deserialize(raw));
  if (!parsed.success)
    throw new Error(
      `the rule set cannot be read: ${parsed.error.issues.map(({ message }) => message).join("; ")}`,
    );
  const { _id: number, format: _, ...content } = parsed.data;
  return { number, ...content };
}

/**
 * Reads the document that names the set in force.
 * @throws {Error} It is not valid.
 */
export function parseInForce(raw: Uint8Array): InForce {
  const { set, parent } = InForceDocument.parse(BSON.deserialize(raw));
  return { set, parent };
}

/** A set that was saved to be put in force. */
export interface Pushed {
  readonly number: number;
  /**
   * `lost`: another writer was faster, so it never takes effect. `unconfirmed`: MongoDB has not confirmed that it is in
   * force, and it may come into force later.
   */
  readonly outcome: "applied" | "lost" | "unconfirmed";
}

/** Waits for one step of a writer, for a limited time. */
export type AnswerStep = <T>(ask: () => Promise<T>) => Promise<T>;

/** Finds sets, and not the document that names one. */
const NUMBERED: Filter<AnyDocument> = { _id: { $ne: IN_FORCE } };

const DUPLICATE_KEY = 11_000;
const isDuplicate = (error: unknown) => (error as { code?: number }).code === DUPLICATE_KEY;
/** Each further attempt means that another writer has just saved a set. */
const ATTEMPTS_MAX = 10;

/** Reads and writes rule sets. Nodes follow the collection through their change stream. */
export class RuleSetStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<AnyDocument> {
    return this.#database.collection<AnyDocument>(RULE_SETS);
  }

  /** The set in force; `null` if no set was ever put in force. */
  async inForce(): Promise<InForce | null> {
    const [found] = await this.#read({ _id: IN_FORCE });
    return found === undefined ? null : parseInForce(found);
  }

  /** A set; `null` if it does not exist, or is no longer kept. */
  async load(number: number): Promise<SavedRuleSet | null> {
    const [found] = await this.#read({ _id: number });
    return found === undefined ? null : parseRuleSet(found);
  }

  /**
   * The set in force and the sets before it, each the parent of the one before, latest first. Sets that lost against
   * another one are not among them.
   */
  async history(most: number): Promise<SavedRuleSet[]> {
    const history: SavedRuleSet[] = [];
    let next = (await this.inForce())?.set ?? 0;
    while (next !== 0 && history.length < most) {
      const set = await this.load(next);
      if (set === null) break;
      history.push(set);
      next = set.parent;
    }
    return history;
  }

  /**
   * As `history`, without the content of the sets.
   * @param before Only sets before this one; `null` begins with the set in force.
   */
  async summaries(most: number, before: number | null): Promise<RuleSetSummary[]> {
    const start = before ?? (await this.inForce())?.set ?? 0;
    const summaries: RuleSetSummary[] = [];
    // A set has a greater number than its parent. The sets in between lost against another one.
    const found = this.#collection
      .find({ _id: { $lte: start } } as Filter<AnyDocument>, { ...MAJORITY_READ, projection: SUMMARY })
      .sort({ _id: -1 });
    let next = start;
    for await (const document of found) {
      if (document._id !== next) continue;
      const { _id: number, ...summary } = SummaryDocument.parse(document);
      if (number !== before) summaries.push({ number, ...summary });
      next = summary.parent;
      if (next === 0 || summaries.length >= most) break;
    }
    return summaries;
  }

  /**
   * Saves a set. It does not take effect by that.
   * @returns Its number, which is greater than that of every other set.
   */
  async add(draft: RuleSetDraft): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const [last] = await this.#collection
        .find(NUMBERED, { ...MAJORITY_READ, projection: { _id: 1 } })
        .sort({ _id: -1 })
        .limit(1)
        .toArray();
      // A set that was removed may have had the number of its child's parent.
      const number = Math.max(Number(last?._id ?? 0), draft.parent) + attempt;
      try {
        await this.#collection.insertOne(
          { _id: number, format: FORMAT, ...draft } as AnyDocument,
          MAJORITY_WRITE,
        );
        return number;
      } catch (error) {
        if (!isDuplicate(error) || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  }

  /**
   * Puts a saved set in force, if its parent is the set in force. It takes effect at this commit, on every node.
   * @returns Whether it did. If not, another writer was faster.
   */
  async putInForce(number: number, parent: number): Promise<boolean> {
    const record: InForceRecord = { _id: IN_FORCE, set: number, parent, at: new Date() };
    if (parent === 0) {
      try {
        await this.#collection.insertOne(record, MAJORITY_WRITE);
        return true;
      } catch (error) {
        if (isDuplicate(error)) return false;
        throw error;
      }
    }
    // Replaced as a whole, so that the change event contains the whole document.
    const found = { _id: IN_FORCE, set: parent } as Partial<InForceRecord>;
    return (await this.#collection.replaceOne(found, record, MAJORITY_WRITE)).matchedCount > 0;
  }

  /**
   * Saves a set and puts it in force, if its parent is the set in force.
   * @param keep How many sets are kept.
   * @param answer Waits for each step, with a limit. A step that fails may still happen later. A set that is saved
   *   late does not take effect by that.
   * @throws {Error} The set was not saved in time, or MongoDB refuses to put it in force. It never takes effect.
   */
  async push(draft: RuleSetDraft, keep: number, answer: AnswerStep = (ask) => ask()): Promise<Pushed> {
    const number = await answer(() => this.add(draft));
    let isInForce: boolean;
    try {
      isInForce = await answer(() => this.putInForce(number, draft.parent));
    } catch (error) {
      if (!mayStillHappen(error)) throw error;
      const isConfirmed = await answer(() => this.#isConfirmed(number)).catch(() => false); // MongoDB does not answer this either
      if (!isConfirmed) return { number, outcome: "unconfirmed" };
      isInForce = true;
    }
    const tidy = () => (isInForce ? this.prune(keep) : this.#discard(number));
    await answer(tidy).catch(() => {}); // the next push removes the rest
    return { number, outcome: isInForce ? "applied" : "lost" };
  }

  /** Whether a set is in force, after all writes that the primary has made so far are confirmed by a majority. */
  async #isConfirmed(number: number): Promise<boolean> {
    const found = await this.#collection.findOne({ _id: IN_FORCE, set: number } as Partial<InForceRecord>, {
      readConcern: "linearizable",
      maxTimeMS: MAJORITY_TIMEOUT_MS,
    });
    return found !== null;
  }

  /** Removes a set that was saved and never in force. */
  async #discard(number: number): Promise<void> {
    const { set } = (await this.inForce()) ?? { set: 0 };
    if (set !== number) await this.#collection.deleteOne({ _id: number }, MAJORITY_WRITE);
  }

  /** Removes all but the latest sets, and those that lost against another one. The set in force stays. */
  async prune(keep: number): Promise<void> {
    // Without the contents of the sets, which may be many megabytes.
    const history = await this.summaries(keep, null);
    const [inForce] = history;
    if (inForce === undefined) return;
    const kept = history.map(({ number }) => number);
    // The number of a set is greater than that of its parent. So a smaller number than that in force can never come
    // into force again, and a greater one still may.
    const gone = { _id: { $lt: inForce.number, $nin: kept } };
    await this.#collection.deleteMany(gone, MAJORITY_WRITE);
  }

  async #read(filter: AnyDocument): Promise<Uint8Array[]> {
    const found = await this.#collection.find(filter, { ...MAJORITY_READ, raw: true }).toArray();
    return found as unknown as Buffer[]; // with `raw` the driver returns bytes, against its own types
  }
}
