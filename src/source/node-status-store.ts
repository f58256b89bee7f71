/**
 * Stores the status of each running node, so that every node can show the whole fleet. Times are the server's, because
 * the clocks of nodes differ.
 */
import type { Collection } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_TIMEOUT_MS } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** The collection has one document per node. Other parts of the service may keep fields of their own in it. */
const COLLECTION = "nodes";

/** How often a node reports, in milliseconds. */
export const STATUS_REPORT_MS = 5_000;
/** After this long MongoDB may remove the document of a node that reports no more, in milliseconds. */
const KEPT_MS = 60 * 60_000;
/** Nodes of one answer. */
const NODES_MAX = 1_000;

/** The state of one process that serves clients. */
export interface NodeStatus {
  /** The name of the node. */
  readonly node: string;
  /** The id under which clients see the node, and with which the ids of its connections begin. */
  readonly id: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly ready: boolean;
  /** As in `/readyz`. */
  readonly status: string;
  /** Age of the head of the change stream; some seconds in a deployment without writes. */
  readonly headAgeMs: number;
  readonly rulesGeneration: number;
  readonly lastReload: string;
  readonly connections: number;
  readonly subscriptions: number;
  readonly liveQueries: number;
}

/** The status of a node, as it last reported it. */
export interface ReportedStatus extends NodeStatus {
  /** How long ago the node reported, in milliseconds. */
  readonly ageMs: number;
}

interface NodeDocument {
  _id: string;
  expiresAt: Date;
  status?: NodeStatus & { readonly at: Date };
}

/** The status of all nodes, in the state database. */
export class NodeStatusStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<NodeDocument> {
    return this.#database.collection<NodeDocument>(COLLECTION);
  }

  /** Saves the status of a node. Not with a majority: the next report repeats it, and nothing depends on it. */
  async report(status: NodeStatus): Promise<void> {
    await this.#expiry.ensure(this.#collection).catch(() => {}); // it only saves space, and the user may lack the right
    const set = {
      expiresAt: { $add: ["$$NOW", KEPT_MS] },
      status: { $mergeObjects: [{ $literal: status }, { at: "$$NOW" }] },
    };
    await this.#collection.updateOne({ _id: status.node }, [{ $set: set }], { upsert: true });
  }

  /** Removes the document of a node that ends. */
  async remove(node: string): Promise<void> {
    await this.#collection.deleteOne({ _id: node });
  }

  /** The nodes that have reported within the last hour, by name. */
  async all(): Promise<ReportedStatus[]> {
    const stages = [
      { $match: { "status.at": { $exists: true } } },
      { $sort: { _id: 1 } },
      { $limit: NODES_MAX },
      {
        $set: {
          "status.ageMs": { $toDouble: { $subtract: ["$$NOW", "$status.at"] } },
        },
      },
      { $replaceWith: "$status" },
      { $unset: "at" },
    ];
    const limited = { maxTimeMS: MAJORITY_TIMEOUT_MS };
    return this.#collection.aggregate<NodeStatus & { ageMs: number }>(stages, limited).toArray();
  }
}
