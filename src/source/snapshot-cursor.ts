/**
 * Reads the snapshot of a live query. The result must join the change stream without a gap and without an overlap, and
 * MongoDB offers one way for that: read at cluster time T, then apply the commits after T.
 */
import {
  type ClientSession,
  type Document,
  Long,
  type MongoClient,
  MongoServerError,
  type Timestamp,
} from "mongodb";
import { fromTimestamp, toTimestamp } from "./cluster-time.ts";
import { answerOf, clientOf, type MongoAccess } from "./mongo.ts";
import { RAW, readRawAnswer } from "./raw-answer.ts";
import { rawField } from "./raw-field.ts";

/** The query of a snapshot. */
export interface SnapshotQuery {
  readonly database: string;
  readonly collection: string;
  /**
   * BSON if clients or documents have contributed parts of it, because the driver would interpret some of their keys.
   */
  readonly filter: Document | Uint8Array;
  readonly sort?: ReadonlyMap<string, 1 | -1>;
  /** The most documents to read. */
  readonly limit?: number;
  readonly projection?: Document;
  /** Stages of an aggregation over the documents that the filter finds; without sort, limit and projection. */
  readonly stages?: readonly Document[];
  /** How long the server may work on the read, in milliseconds, over all its batches. */
  readonly maxTimeMs: number;
}

/** Makes a field of a command from the filter of a query. */
export const filterField = (name: string, filter: SnapshotQuery["filter"]): Document =>
  filter instanceof Uint8Array ? rawField(name, filter) : { [name]: filter };

/** MaxTimeMSExpired: the server has given up the read. */
const MAX_TIME_EXPIRED = 50;

/** Whether the server gave up a read because it took longer than `maxTimeMs`. */
export const tookTooLong = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === MAX_TIME_EXPIRED;

/** How much later than `maxTimeMs` the server's own answer may arrive, in milliseconds. */
const LATENCY_MS = 10_000;

const BATCH_DOCUMENTS = 500;
/**
 * The target size of a batch of a result that is read at a client's pace, in bytes. The batch stays in memory until the
 * client has room.
 */
const BATCH_BYTES = 512 * 1_024;
/**
 * SnapshotUnavailable: capped collections have no history to read from, and a collection that was just created has none
 * yet.
 */
const SNAPSHOT_UNAVAILABLE = 246;

const isUnavailable = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === SNAPSHOT_UNAVAILABLE;

/**
 * Reads one result set at one cluster time. Measured on real servers: of all ways to join a read to the change stream,
 * only "read at T, then take the events after T" loses nothing and repeats nothing.
 */
export class SnapshotCursor {
  readonly #access: MongoAccess;
  readonly #client: MongoClient;
  readonly #session: ClientSession;
  readonly #query: SnapshotQuery;
  readonly #signal: AbortSignal | undefined;
  #cursorId = 0n;
  #batch: Buffer[] = [];
  #batchDocuments = BATCH_DOCUMENTS;
  #clusterTime = 0n;
  #exact = true;

  /**
   * @param signal Ends the read: the driver closes the connection of a command that is in progress, and the server then ends
   *   the command.
   */
  private constructor(access: MongoAccess, query: SnapshotQuery, signal: AbortSignal | undefined) {
    this.#query = query;
    this.#signal = signal;
    this.#access = access;
    this.#client = clientOf(access);
    this.#session = this.#client.startSession({ causalConsistency: false });
  }

  /**
   * Opens the cursor.
   * @param after The read is of this cluster time or later, so that it is never behind the stream.
   * @throws The server's error. The cursor is closed then.
   */
  static async open(
    access: MongoAccess,
    query: SnapshotQuery,
    after: bigint,
    signal?: AbortSignal,
  ): Promise<SnapshotCursor> {
    const cursor = new SnapshotCursor(access, query, signal);
    try {
      await cursor.#open(after);
      await cursor.#readSmaller();
      return cursor;
    } catch (error) {
      cursor.close();
      throw error;
    }
  }

  /**
   * Opens the cursor on the state at a cluster time of the last minutes. A capped collection has no such state; the
   * cursor is then not `exact`, and has no documents.
   * @throws The server's error, such as SnapshotTooOld (239). The cursor is closed then.
   */
  static async openAt(
    access: MongoAccess,
    query: SnapshotQuery,
    clusterTime: bigint,
    signal?: AbortSignal,
  ): Promise<SnapshotCursor> {
    const cursor = new SnapshotCursor(access, query, signal);
    try {
      await cursor.#openAt(clusterTime);
      return cursor;
    } catch (error) {
      cursor.close();
      if (!isUnavailable(error) || !(await cursor.#isCapped())) throw error;
      cursor.#exact = false;
      return cursor;
    }
  }

  /**
   * Reads all documents of a query as they were at a cluster time of the last minutes.
   * @param onDocuments Takes the documents of each answer when they arrive. An error that it throws ends the read.
   * @throws The server's error, such as SnapshotTooOld (239).
   */
  static async readAt(
    access: MongoAccess,
    query: SnapshotQuery,
    clusterTime: bigint,
    onDocuments?: (documents: readonly Uint8Array[]) => void,
    signal?: AbortSignal,
  ): Promise<Buffer[]> {
    const cursor = new SnapshotCursor(access, query, signal);
    try {
      await cursor.#openAt(clusterTime);
      const documents: Buffer[] = [];
      for (let batch = await cursor.next(); batch.length > 0; batch = await cursor.next()) {
        onDocuments?.(batch);
        // Not by `push(...batch)`: 16 MiB of small documents are more than a call may have arguments.
        for (const document of batch) documents.push(document);
      }
      return documents;
    } finally {
      cursor.close();
    }
  }

  /** The cluster time T of the whole read. */
  get clusterTime(): bigint {
    return this.#clusterTime;
  }

  /**
   * Whether the result is exactly that of `clusterTime`. If not (capped collections), it contains at least every write
   * up to that time, and possibly later ones.
   */
  get exact(): boolean {
    return this.#exact;
  }

  /** Whether no document follows the batch that `next` returns now. */
  get exhausted(): boolean {
    return this.#cursorId === 0n;
  }

  /** The next documents, raw; none at the end. */
  async next(): Promise<Buffer[]> {
    if (this.#batch.length === 0 && this.#cursorId !== 0n) {
      this.#take(
        await this.#command({
          getMore: Long.fromBigInt(this.#cursorId),
          collection: this.#query.collection,
          batchSize: this.#batchDocuments,
        }),
      );
      this.#fitBatches();
    }
    const batch = this.#batch;
    this.#batch = [];
    // The client keeps a session that has not ended for ever, and with it the last answer that it received.
    if (this.#cursorId === 0n) this.#endSession();
    return batch;
  }

  /** Counts the whole result at the same cluster time, up to `most` documents. */
  async count(most: number): Promise<number> {
    const readConcern = this.#exact
      ? { level: "snapshot", atClusterTime: toTimestamp(this.#clusterTime) }
      : { level: "majority" };
    const command = {
      aggregate: this.#query.collection,
      pipeline: [filterField("$match", this.#query.filter), { $limit: most }, { $count: "n" }],
      cursor: {},
      maxTimeMS: this.#query.maxTimeMs,
      readConcern,
      collation: { locale: "simple" },
    };
    const answer = await this.#ask((client) =>
      client.db(this.#query.database).command(command, { ...this.#abortable }),
    );
    return Number(answer["cursor"].firstBatch[0]?.n ?? 0);
  }

  close(): void {
    const killed = this.#kill();
    // The server removes a cursor that could not be killed.
    killed.then(
      () => this.#endSession(),
      () => this.#endSession(),
    );
  }

  #endSession(): void {
    this.#session.endSession().catch(() => {}); // the server removes idle sessions by itself
  }

  async #kill(): Promise<void> {
    const id = this.#cursorId;
    this.#cursorId = 0n;
    if (id === 0n) return;
    await this.#send({ killCursors: this.#query.collection, cursors: [Long.fromBigInt(id)] }, {});
  }

  /** A first batch of large documents may be up to 16 MB. It is then read again, at the same time, in small batches. */
  async #readSmaller(): Promise<void> {
    // A result that is sorted or grouped, or that changes while it is read, is kept as a whole anyway.
    const { sort, stages } = this.#query;
    if (!this.#exact || sort !== undefined || stages !== undefined || !this.#fitBatches()) return;
    await this.#kill();
    this.#take(await this.#find({ level: "snapshot", atClusterTime: toTimestamp(this.#clusterTime) }));
  }

  /**
   * Lowers the number of documents in the next batches if the current one is too large.
   * @returns Whether it was.
   */
  #fitBatches(): boolean {
    let bytes = 0;
    for (const document of this.#batch) bytes += document.length;
    if (bytes <= 2 * BATCH_BYTES) return false;
    this.#batchDocuments = Math.max(1, Math.floor((BATCH_BYTES * this.#batch.length) / bytes));
    return true;
  }

  async #open(after: bigint): Promise<void> {
    const snapshot = { level: "snapshot", afterClusterTime: toTimestamp(after) };
    try {
      const clusterTime = this.#take(await this.#find(snapshot));
      if (clusterTime !== null) {
        this.#clusterTime = clusterTime;
        return;
      }
      // The collection does not exist. It may be created at this moment, so the time must be read before the second
      // attempt: an empty result at an earlier time is correct, one at a later time might not be.
      const { operationTime } = await this.#ask((client) => client.db("admin").command({ ping: 1 }));
      const again = this.#take(await this.#find(snapshot));
      this.#clusterTime = again ?? fromTimestamp(operationTime as Timestamp);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      // The server returns the same error, but only for a moment, where the collection was just created or changed.
      if (!(await this.#isCapped())) throw error;
      const { operationTime } = await this.#ask((client) => client.db("admin").command({ ping: 1 }));
      this.#exact = false;
      this.#clusterTime = fromTimestamp(operationTime as Timestamp);
      this.#take(await this.#find({ level: "majority", afterClusterTime: operationTime }));
    }
  }

  async #openAt(clusterTime: bigint): Promise<void> {
    this.#clusterTime = clusterTime;
    this.#take(await this.#find({ level: "snapshot", atClusterTime: toTimestamp(clusterTime) }));
  }

  async #isCapped(): Promise<boolean> {
    const { database, collection } = this.#query;
    const [found] = await this.#ask((client) =>
      client.db(database).listCollections({ name: collection }).toArray(),
    );
    return found !== undefined && "options" in found && found.options?.["capped"] === true;
  }

  #find(readConcern: Document): Promise<Document> {
    const { collection, filter, sort, limit, projection, stages } = this.#query;
    if (stages !== undefined) return this.#aggregate(stages, readConcern);
    return this.#command({
      find: collection,
      ...filterField("filter", filter),
      ...(sort === undefined ? {} : { sort }),
      ...(limit === undefined ? {} : { limit }),
      ...(projection === undefined ? {} : { projection }),
      batchSize: this.#batchDocuments,
      // The server counts all later batches against the same limit.
      maxTimeMS: this.#query.maxTimeMs,
      readConcern,
      // The simple collation, whatever the collection uses: rules and the change stream compare strings byte by byte.
      collation: { locale: "simple" },
    });
  }

  #aggregate(stages: readonly Document[], readConcern: Document): Promise<Document> {
    const { collection, filter, maxTimeMs } = this.#query;
    return this.#command({
      aggregate: collection,
      pipeline: [filterField("$match", filter), ...stages],
      cursor: { batchSize: this.#batchDocuments },
      maxTimeMS: maxTimeMs,
      readConcern,
      collation: { locale: "simple" },
      // Without disk use, a request for millions of groups fails early and does not fill the server's disk.
      allowDiskUse: false,
    });
  }

  get #abortable(): { signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  #command(command: Document): Promise<Document> {
    return this.#send(command, this.#abortable);
  }

  #send(command: Document, abortable: { signal?: AbortSignal }): Promise<Document> {
    const options = { session: this.#session, ...RAW, ...abortable };
    return this.#ask((client) => client.db(this.#query.database).command(command, options));
  }

  #ask<T>(ask: (client: MongoClient) => Promise<T>): Promise<T> {
    const timeoutMs = this.#query.maxTimeMs + LATENCY_MS;
    return answerOf(this.#access, ask, { pinned: this.#client, timeoutMs });
  }

  /**
   * Takes over a batch.
   * @returns The cluster time of the read; `null` if the server reports none.
   */
  #take(answer: Document): bigint | null {
    const { documents, cursorId, atClusterTime } = readRawAnswer(answer);
    this.#batch = documents;
    this.#cursorId = cursorId;
    return atClusterTime;
  }
}
