/** A backend under load that survives what happens to MongoDB: each of its writes adds one to `v` of a document. */
import { setTimeout as pause } from "node:timers/promises";
import type { AnyBulkWriteOperation, Collection, Db, MongoClient } from "mongodb";
import { isMongoFailure } from "../../src/source/mongo.ts";
import type { Random } from "./random.ts";

export interface Versioned {
  _id: string;
  v: number;
  owner: string;
  shown: boolean;
  note?: string;
}

const DOCUMENTS = 30;
const OWNERS = ["u0", "u1"];
/** The rate that each writer maintains, even if each write takes long. */
const WRITES_PER_SECOND = 80;
/** A go that had to wait for a busy server makes up for it, up to so many writes. */
const GO_MAX = 200;
const PAUSE_MS = 70;
const TRANSACTION_WRITES = 4;

export class VersionedWriter {
  writes = 0;
  transactions = 0;
  /** Goes that failed, and were not repeated: nobody knows how much of them was written. */
  failed = 0;
  readonly #client: MongoClient;
  readonly #collection: Collection<Versioned>;
  readonly #random: Random;
  readonly #name: string;
  /** Called after each acknowledged write of documents. */
  onWritten: () => void = () => {};
  #passing = 0;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(client: MongoClient, db: Db, collection: string, name: string, random: Random) {
    this.#client = client;
    this.#collection = db.collection<Versioned>(collection, { writeConcern: { w: "majority" } });
    this.#name = name;
    this.#random = random;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    let startedAtMs = Date.now();
    while (!this.#stopped) {
      const due = Math.ceil(((Date.now() - startedAtMs) / 1_000) * WRITES_PER_SECOND);
      startedAtMs = Date.now();
      try {
        if (this.#random.chance(0.2)) await this.#transaction();
        await this.#bulk(Math.min(GO_MAX, Math.max(1, due)));
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        this.failed++;
      }
      await pause(this.#random.int(PAUSE_MS / 2, (PAUSE_MS * 3) / 2));
    }
  }

  async #bulk(length: number): Promise<void> {
    const writes = Array.from({ length }, () => this.#write());
    await this.#collection.bulkWrite(writes, { ordered: true });
    this.writes += length;
    this.onWritten();
  }

  /** Several writes to few documents, all or nothing. */
  async #transaction(): Promise<void> {
    const few = [this.#id(), this.#id()];
    await this.#client.withSession((session) =>
      session.withTransaction(async () => {
        for (let i = 0; i < TRANSACTION_WRITES; i++) {
          const update = { $inc: { v: 1 }, ...this.#rest() };
          await this.#collection.updateOne({ _id: this.#random.pick(few) }, update, {
            upsert: true,
            session,
          });
        }
      }),
    );
    this.transactions++;
    this.writes += TRANSACTION_WRITES;
    this.onWritten();
  }

  #write(): AnyBulkWriteOperation<Versioned> {
    const kind = this.#random.next();
    if (kind < 0.9)
      return {
        updateOne: { filter: { _id: this.#id() }, update: { $inc: { v: 1 }, ...this.#rest() }, upsert: true },
      };
    // Some come once and go once; ids are never used again, so that a repeated write does no harm.
    const _id = `${this.#name}-passing-${this.#passing}`;
    if (kind < 0.95) {
      this.#passing++;
      return {
        updateOne: {
          filter: { _id: `${this.#name}-passing-${this.#passing}` },
          update: { $set: { v: 1, owner: "u0", shown: true } },
          upsert: true,
        },
      };
    }
    return { deleteOne: { filter: { _id } } };
  }

  #rest() {
    return {
      $set: {
        owner: this.#random.pick(OWNERS),
        shown: this.#random.chance(0.6),
        note: `n${this.#random.int(0, 999)}`,
      },
    };
  }

  #id(): string {
    return `${this.#name}-${this.#random.int(0, DOCUMENTS - 1)}`;
  }
}
