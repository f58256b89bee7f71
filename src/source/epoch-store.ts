import { randomBytes } from "node:crypto";
import { Binary, type Collection, type Db } from "mongodb";

/** One unbroken order of changes. It ends when the deployment is replaced or restored. */
export interface Epoch {
  /** Eight hex digits; cursors bear it in the clear. */
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

const MAJORITY = { writeConcern: { w: "majority" as const } };

/** Keeps the epoch in the state database, where every node finds the same one. */
export class EpochStore {
  readonly #collection: Collection<EpochDocument>;

  constructor(stateDatabase: Db) {
    this.#collection = stateDatabase.collection<EpochDocument>("epochs");
  }

  /** The epoch of this deployment; begins the first one, and another one when the deployment is a different one. */
  async current(deploymentId: string): Promise<{ epoch: Epoch; changed: boolean }> {
    const saved = await this.#collection.findOne({ _id: "current" }, { readConcern: "majority" });
    if (saved === null) return { epoch: await this.begin(deploymentId, "first start", null), changed: false };
    if (saved.deploymentId === deploymentId) return { epoch: toEpoch(saved), changed: false };
    return { epoch: await this.begin(deploymentId, "another deployment", saved.epoch), changed: true };
  }

  /**
   * Begins a new epoch, unless another node has done so since `previous`: then that one is taken.
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
      if (previous === null) await this.#collection.insertOne(next, MAJORITY);
      else await this.#collection.replaceOne({ _id: "current", epoch: previous }, next, MAJORITY);
    } catch (error) {
      if ((error as { code?: number }).code !== 11_000) throw error; // another node's first start
    }
    const saved = await this.#collection.findOne({ _id: "current" }, { readConcern: "majority" });
    return toEpoch(saved ?? next);
  }
}

const toEpoch = (saved: EpochDocument): Epoch => ({ id: saved.epoch, cursorKey: saved.cursorKey.value() });
