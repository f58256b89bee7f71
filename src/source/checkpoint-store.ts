/**
 * Saves how far the change stream was accepted. The checkpoint belongs to the deployment and not to a node, so that any
 * node can start where another one ended.
 */
import { randomUUID } from "node:crypto";
import { Binary, type Collection, Timestamp } from "mongodb";
import { fromTimestamp } from "./cluster-time.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** A saved position of the change stream: every commit up to here was accepted. */
export interface Checkpoint {
  /** The server's resume token as raw BSON. */
  readonly token: Uint8Array;
  readonly clusterTime: bigint;
  readonly epoch: string;
  /** Identifies the pipeline of the token. Under another pipeline only `clusterTime` can be used. */
  readonly fingerprint: string;
}

interface CheckpointDocument {
  _id: string;
  token: Binary;
  clusterTime: Timestamp;
  epoch: string;
  fingerprint: string;
  node: string;
  /** The store that has saved it. A node has one in each of its processes. */
  writer?: string;
  at: Date;
}

/** The collection of checkpoints, in the state database. */
export class CheckpointStore {
  readonly #database: StateDatabase;
  readonly #stream: string;
  readonly #node: string;
  readonly #writer: string = randomUUID();
  /** The position at the last call of `saveInTurn`. */
  #previous: bigint | undefined;

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
   * Saves a checkpoint, unless another process has saved one that reaches further than the last call of this function. All
   * processes of a fleet read the same commits, so one of them is enough, and a look costs MongoDB far less than a write
   * that a majority confirms. If that process ends or falls behind, another one saves instead at its next call, or the one after.
   */
  async saveInTurn(checkpoint: Checkpoint): Promise<void> {
    const previous = this.#previous;
    this.#previous = checkpoint.clusterTime;
    if (previous !== undefined && (await this.#hasAnotherSaved(checkpoint.epoch, previous))) return;
    await this.save(checkpoint);
  }

  async #hasAnotherSaved(epoch: string, since: bigint): Promise<boolean> {
    const projection = { clusterTime: 1, epoch: 1, writer: 1 } as const;
    const saved = await this.#collection.findOne({ _id: this.#stream }, { projection, ...MAJORITY_READ });
    if (saved === null || saved.epoch !== epoch || saved.writer === this.#writer) return false;
    return fromTimestamp(saved.clusterTime) >= since;
  }

  /**
   * Saves a checkpoint unless a later one of this epoch exists, from another node or from an own write that seemed to
   * fail. A saved position never goes backwards.
   */
  async save(checkpoint: Checkpoint): Promise<void> {
    const clusterTime = new Timestamp(checkpoint.clusterTime);
    const set = {
      token: new Binary(checkpoint.token),
      clusterTime,
      epoch: checkpoint.epoch,
      fingerprint: checkpoint.fingerprint,
      node: this.#node,
      writer: this.#writer,
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
      // The filter matched no document, so the server tried to insert one, and its `_id` exists: a later checkpoint is
      // saved already, and stays.
      if ((error as { code?: number }).code !== 11_000) throw error;
    }
  }
}
