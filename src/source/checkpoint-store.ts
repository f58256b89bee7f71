import { Binary, type Collection, Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** A saved position of the change stream: up to here everything was accepted. */
export interface Checkpoint {
  /** The server's resume token as raw BSON. */
  readonly token: Uint8Array;
  readonly clusterTime: bigint;
  readonly epoch: string;
  /** Of the pipeline the token belongs to; under another one only `clusterTime` can be used. */
  readonly fingerprint: string;
}

interface CheckpointDocument {
  _id: string;
  token: Binary;
  clusterTime: Timestamp;
  epoch: string;
  fingerprint: string;
  node: string;
  at: Date;
}

/** Where the service saves its position, in the state database. */
export class CheckpointStore {
  readonly #database: StateDatabase;
  readonly #stream: string;
  readonly #node: string;

  constructor(stateDatabase: StateDatabase, stream: string, node: string) {
    this.#database = stateDatabase;
    this.#stream = stream;
    this.#node = node;
  }

  get #collection(): Collection<CheckpointDocument> {
    return this.#database.collection<CheckpointDocument>("checkpoints");
  }

  async load(): Promise<Checkpoint | null> {
    const saved = await this.#collection.findOne({ _id: this.#stream }, MAJORITY_READ);
    if (saved === null) return null;
    return {
      token: saved.token.value(),
      clusterTime: fromTimestamp(saved.clusterTime),
      epoch: saved.epoch,
      fingerprint: saved.fingerprint,
    };
  }

  /**
   * Saves a checkpoint unless a later one of this epoch is there (another node's, or our own that was taken
   * for failed): a saved position never goes backwards.
   */
  async save(checkpoint: Checkpoint): Promise<void> {
    const clusterTime = new Timestamp(checkpoint.clusterTime);
    const set = {
      token: new Binary(checkpoint.token),
      clusterTime,
      epoch: checkpoint.epoch,
      fingerprint: checkpoint.fingerprint,
      node: this.#node,
      at: new Date(),
    };
    const notLater = {
      _id: this.#stream,
      $or: [{ clusterTime: { $lte: clusterTime } }, { epoch: { $ne: checkpoint.epoch } }],
    };
    const options = { upsert: true, ...MAJORITY_WRITE };
    try {
      await this.#collection.updateOne(notLater, { $set: set }, options);
    } catch (error) {
      // The upsert of a checkpoint that exists but is later: exactly the case to leave alone.
      if ((error as { code?: number }).code !== 11_000) throw error;
    }
  }
}
