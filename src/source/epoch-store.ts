/**
 * Keeps the epoch: the name of one unbroken order of commits, and the key that makes its cursors opaque. A restored
 * backup or another deployment repeats cluster times, so a cursor is only comparable within its epoch.
 */
import { randomBytes } from "node:crypto";
import { Binary, type Collection, MongoServerError, type Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import { MAJORITY_READ, MAJORITY_TIMEOUT_MS, MAJORITY_WRITE, NoMajorityError } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** One unbroken order of commits. It ends when the deployment is replaced or restored. */
export interface Epoch {
  /** Eight hex digits. Cursors carry them unencrypted. */
  readonly id: string;
  /** Turns positions into opaque cursors (AES-128); the same on every node. */
  readonly cursorKey: Uint8Array;
}

interface EpochDocument {
  _id: "current";
  epoch: string;
  cursorKey: Binary;
  deploymentId: string;
  reason: string;
  startedAt: Date;
}

const COLLECTION = "epochs";
/** Error codes of servers that speak the protocol without supporting linearizable reads. */
const UNSUPPORTED = new Set([2, 9, 72, 115, 303]);

/** The epoch of the deployment, in the state database, where every node finds the same one. */
export class EpochStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<EpochDocument> {
    return this.#database.collection<EpochDocument>(COLLECTION);
  }

  /** The epoch of this deployment. Begins the first epoch, or a new one if the deployment has changed. */
  async current(deploymentId: string): Promise<{ epoch: Epoch; changed: boolean }> {
    const saved = await this.#collection.findOne({ _id: "current" }, MAJORITY_READ);
    if (saved === null) return { epoch: await this.begin(deploymentId, "first start", null), changed: false };
    if (saved.deploymentId === deploymentId) return { epoch: toEpoch(saved), changed: false };
    return { epoch: await this.begin(deploymentId, "another deployment", saved.epoch), changed: true };
  }

  /**
   * A cluster time that a majority of the members confirms; `null` where the server does not support the question. Only
   * a primary that still is one answers a linearizable read.
   */
  async confirmedTime(): Promise<bigint | null> {
    const read = {
      find: COLLECTION,
      filter: { _id: "current" },
      limit: 1,
      singleBatch: true,
      readConcern: { level: "linearizable" },
      maxTimeMS: MAJORITY_TIMEOUT_MS,
    };
    try {
      const { operationTime } = await this.#database.command(read, { readPreference: "primary" });
      return operationTime === undefined ? null : fromTimestamp(operationTime as Timestamp);
    } catch (error) {
      if (error instanceof MongoServerError && UNSUPPORTED.has(Number(error.code))) return null;
      throw error;
    }
  }

  /**
   * Begins a new epoch, unless another node has begun one since `previous`. That one is returned then.
   * @param previous The epoch that ended; `null` if there was none.
   */
  async begin(deploymentId: string, reason: string, previous: string | null): Promise<Epoch> {
    const next: EpochDocument = {
      _id: "current",
      epoch: randomBytes(4).toString("hex"),
      cursorKey: new Binary(randomBytes(16)),
      deploymentId,
      reason,
      startedAt: new Date(),
    };
    try {
      if (previous === null) await this.#collection.insertOne(next, MAJORITY_WRITE);
      else await this.#collection.replaceOne({ _id: "current", epoch: previous }, next, MAJORITY_WRITE);
    } catch (error) {
      if ((error as { code?: number }).code !== 11_000) throw error; // another node inserted the first epoch
    }
    const saved = await this.#collection.findOne({ _id: "current" }, MAJORITY_READ);
    // The saved document counts and not `next`, because the majority may confirm the epoch of another node.
    if (saved === null) throw new NoMajorityError("no majority has confirmed the epoch yet");
    return toEpoch(saved);
  }
}

const toEpoch = (saved: EpochDocument): Epoch => ({ id: saved.epoch, cursorKey: saved.cursorKey.value() });
