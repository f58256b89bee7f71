/**
 * Stores which rule set each running node has in force, so that the writer of a rule set sees when all nodes follow it.
 */
import type { Collection, Timestamp } from "mongodb";
import { toTimestamp } from "./cluster-time.ts";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** One document per node, in which the status of the node has fields of its own. */
const COLLECTION = "nodes";

/** A node that has not reported for this long counts as gone, in milliseconds. */
const LIVE_MS = 15_000;
/** After this long MongoDB may remove the document of a node that has gone, in milliseconds. */
const KEPT_MS = 60 * 60_000;

/** The rules of a node, as it reports them. */
export interface NodeRules {
  /** The number of the rule set in force on the node. */
  readonly generation: number;
  /** The cluster time of the commit at which it took effect there; 0 if it was in force at the start. */
  readonly clusterTime: bigint;
  /** The set that the node should have in force and cannot apply, and why; `null` if there is none. */
  readonly behind: { readonly set: number; readonly problem: string } | null;
}

/** A node that has reported within the last seconds. */
export interface LiveNode {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  /** When the node reported this generation, in epoch milliseconds. */
  readonly acknowledgedAtMs: number;
  readonly behind: NodeRules["behind"];
}

interface NodeDocument {
  _id: string;
  expiresAt: Date;
  rules: {
    seenAt: Date;
    version: string;
    generation: number;
    clusterTime: Timestamp;
    acknowledgedAt: Date;
    behind: NodeRules["behind"];
  };
}

/** The rules of all nodes, in the state database. */
export class NodeRulesStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<NodeDocument> {
    return this.#database.collection<NodeDocument>(COLLECTION);
  }

  /**
   * Reports that a node runs, and its rules. All times are the server's, because the clocks of nodes differ.
   * @param isNew Whether the rules differ from those of the last report.
   */
  async report(node: string, version: string, rules: NodeRules, isNew: boolean): Promise<void> {
    await this.#expiry.ensure(this.#collection).catch(() => {}); // only saves space, and the user may lack the right
    const { generation, clusterTime, behind } = rules;
    const set = {
      expiresAt: { $add: ["$$NOW", KEPT_MS] },
      rules: {
        seenAt: "$$NOW",
        version: { $literal: version },
        generation,
        clusterTime: toTimestamp(clusterTime),
        acknowledgedAt: isNew ? "$$NOW" : { $ifNull: ["$rules.acknowledgedAt", "$$NOW"] },
        behind: { $literal: behind },
      },
    };
    // Not with a majority: the next report repeats it, and nothing depends on it.
    await this.#collection.updateOne({ _id: node }, [{ $set: set }], { upsert: true });
  }

  /** Removes the document of a node that ends. */
  async remove(node: string): Promise<void> {
    await this.#collection.deleteOne({ _id: node });
  }

  /** The nodes that run now, by name. */
  async live(): Promise<LiveNode[]> {
    const isLive = { $expr: { $gt: ["$rules.seenAt", { $subtract: ["$$NOW", LIVE_MS] }] } };
    const found = await this.#collection.find(isLive, MAJORITY_READ).sort({ _id: 1 }).toArray();
    return found.map(({ _id: name, rules: { version, generation, acknowledgedAt, behind } }) => ({
      name,
      version,
      generation,
      acknowledgedAtMs: acknowledgedAt.getTime(),
      behind,
    }));
  }
}
