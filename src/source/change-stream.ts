/**
 * One change stream cursor, driven by plain `aggregate` and `getMore` commands. This file knows the server's protocol
 * and no policy: `change-source.ts` decides what follows from an error.
 */
import {
  BSON,
  type ClientSession,
  type Db,
  type Document,
  Long,
  type MongoClient,
  type ReadPreference,
} from "mongodb";
import { toTimestamp } from "./cluster-time.ts";
import { answerOf, clientOf, type MongoAccess } from "./mongo.ts";
import { RAW, readRawAnswer } from "./raw-answer.ts";
import { StreamStalledError } from "./stream-errors.ts";

/** The start of a change stream. `now` lets the server begin at its current time. */
export type StreamStart =
  | { readonly resumeAfter: Uint8Array }
  | { readonly startAfter: Uint8Array }
  | { readonly atTime: bigint }
  | { readonly now: true };

/** Options of the `$changeStream` stage where the server supports images (6.0 and newer). */
export const IMAGE_STAGE = {
  fullDocument: "whenAvailable",
  fullDocumentBeforeChange: "whenAvailable",
  showExpandedEvents: true,
};

/** The options of a change stream; they make its pipeline and its waits. */
export interface ChangeStreamOptions {
  /** Whether the server supports images. */
  readonly images: boolean;
  /** The database to watch; `null` for the whole deployment. */
  readonly database: string | null;
  /** `database.collection` of each watched collection. */
  readonly namespaces: readonly string[];
  /** The most events of one batch. */
  readonly batchSize: number;
  /** How long the server waits for a first event before it answers with none, in milliseconds. */
  readonly maxAwaitMs: number;
  /**
   * How much later than `maxAwaitMs` an answer may arrive, in milliseconds. After that the node is taken for dead or
   * frozen.
   */
  readonly stallTimeoutMs: number;
  /** The members that may answer. Default: the primary. */
  readonly readPreference?: ReadPreference | undefined;
}

/** One answer of the server to a read of the stream. */
export interface RawBatch {
  readonly events: readonly Buffer[];
  /** The server's resume token for the end of this batch. Empty batches have one, too. */
  readonly postBatchToken: Uint8Array | undefined;
  /** The server may have stopped for want of room, also between two events of one cluster time. */
  readonly isFull: boolean;
  /** The server has closed the cursor, so no batch follows. */
  readonly ended: boolean;
  /** No transaction and no cluster time continues after this batch. Absent where that is not known. */
  readonly isAligned?: boolean;
}

/** The change stream as batches of raw events, read from MongoDB or from the shared tail. */
export interface RawStream {
  /**
   * The next batch.
   * @param awaitMs How long MongoDB may wait for a first event, in milliseconds.
   */
  next(awaitMs?: number): Promise<RawBatch>;
  /** Ends the stream without waiting. */
  close(): void;
}

/**
 * Images above this size together are left out by the server, in bytes. An event with larger ones could exceed 16 MB,
 * which ends the stream (BSONObjectTooLarge).
 */
const IMAGES_BYTES_MAX = 15 * 1024 * 1024 + 768 * 1024;
/**
 * An answer up to this size is not full, in bytes: the server stops only before an event that would make the answer larger
 * than 16 MiB, and an event with images of `IMAGES_BYTES_MAX` bytes still leaves 256 KiB for itself and the others.
 */
const SMALL_ANSWER_BYTES = 64 * 1024;

/**
 * The server-side part of the stream. It lets `to.coll`, `dropDatabase` and `invalidate` through as well, because they
 * are the only events of `$out`, of a rename onto a watched collection, and of a dropped database. `'ns.coll': {$in}`
 * is the one form of this match that stays cheap with many collections.
 */
export function changeStreamPipeline(start: StreamStart, options: ChangeStreamOptions): Document[] {
  const collections = [...new Set(options.namespaces.map((name) => name.slice(name.indexOf(".") + 1)))];
  const databases = [...new Set(options.namespaces.map((name) => name.slice(0, name.indexOf("."))))];
  // A stream of the whole deployment would otherwise also send collections of the same names in other databases.
  const inDatabases = (path: string) => (options.database === null ? { [path]: { $in: databases } } : {});
  const images = ["$fullDocument", "$fullDocumentBeforeChange"];
  const imagesBytes = { $add: images.map((path) => ({ $ifNull: [{ $bsonSize: path }, 0] })) };
  const tooLarge = { $gt: [imagesBytes, IMAGES_BYTES_MAX] };
  return [
    {
      $changeStream: {
        ...(options.images ? IMAGE_STAGE : {}),
        ...(options.database === null ? { allChangesForCluster: true } : {}),
        ...startFields(start),
      },
    },
    {
      $match: {
        $or: [
          { "ns.coll": { $in: collections }, ...inDatabases("ns.db") },
          { "to.coll": { $in: collections }, ...inDatabases("to.db") },
          { operationType: { $in: ["dropDatabase", "invalidate"] } },
        ],
      },
    },
    {
      $set: {
        fullDocument: { $cond: [tooLarge, "$$REMOVE", "$fullDocument"] },
        fullDocumentBeforeChange: { $cond: [tooLarge, "$$REMOVE", "$fullDocumentBeforeChange"] },
      },
    },
    { $unset: ["updateDescription", "operationDescription", "collectionUUID"] },
  ];
}

function startFields(start: StreamStart): Document {
  if ("resumeAfter" in start) return { resumeAfter: toTokenDocument(start.resumeAfter) };
  if ("startAfter" in start) return { startAfter: toTokenDocument(start.startAfter) };
  if ("atTime" in start) return { startAtOperationTime: toTimestamp(start.atTime) };
  return {};
}

/** The server expects the token as a document. Raw bytes would be sent as a binary value, which the server refuses. */
const toTokenDocument = (token: Uint8Array): Document => BSON.deserialize(token, { promoteValues: false });

/**
 * A change stream's cursor as plain commands with raw BSON. The driver's own ChangeStream decodes every event, stays
 * silent for `serverSelectionTimeoutMS` after the serving node has died, and gives up on errors that can be survived.
 * The caller decides what follows from an error.
 */
export class RawChangeStream implements RawStream {
  readonly #options: ChangeStreamOptions;
  readonly #client: MongoClient;
  readonly #session: ClientSession;
  readonly #database: Db;
  #cursorId = 0n;
  #first: RawBatch | undefined;

  private constructor(access: MongoAccess, options: ChangeStreamOptions) {
    this.#options = options;
    this.#client = clientOf(access);
    // Causal consistency would add `afterClusterTime` to every read, and so make reads wait for the latest write of
    // this session.
    this.#session = this.#client.startSession({ causalConsistency: false });
    this.#database = this.#client.db(options.database ?? "admin");
  }

  /** Opens the cursor. A start that the server cannot honour is an error here, or at the first `next`. */
  static async open(
    access: MongoAccess,
    start: StreamStart,
    options: ChangeStreamOptions,
  ): Promise<RawChangeStream> {
    const stream = new RawChangeStream(access, options);
    const answer = await stream.#command({
      aggregate: 1,
      pipeline: changeStreamPipeline(start, options),
      // An empty first batch returns at once, so an outage shows here and not within a long read.
      cursor: { batchSize: 0 },
    });
    stream.#first = stream.#readBatch(answer);
    return stream;
  }

  /** The next batch; an empty one after `awaitMs` without events. */
  async next(awaitMs = this.#options.maxAwaitMs): Promise<RawBatch> {
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined && (first.events.length > 0 || first.ended)) return first;
    const answer = await this.#command({
      getMore: Long.fromBigInt(this.#cursorId),
      collection: "$cmd.aggregate",
      batchSize: this.#options.batchSize,
      maxTimeMS: awaitMs,
    });
    return this.#readBatch(answer);
  }

  /** Releases the server's cursor without waiting, because its node may not answer any more. */
  close(): void {
    const id = this.#cursorId;
    this.#cursorId = 0n;
    const killed =
      id === 0n
        ? Promise.resolve()
        : this.#command({ killCursors: "$cmd.aggregate", cursors: [Long.fromBigInt(id)] });
    // A failure is ignored: the server removes an idle cursor by itself.
    killed
      .then(
        () => {},
        () => {},
      )
      .finally(() => this.#session.endSession().catch(() => {})); // the server ends idle sessions by itself
  }

  #command(command: Document): Promise<Document> {
    const timeoutMs = this.#options.stallTimeoutMs + this.#options.maxAwaitMs;
    const onTimeout = () => new StreamStalledError(`no answer within ${timeoutMs} ms`);
    const { readPreference = "primary" } = this.#options;
    const ask = () => this.#database.command(command, { session: this.#session, readPreference, ...RAW });
    return answerOf(this.#client, ask, { timeoutMs, onTimeout });
  }

  #readBatch(answer: Document): RawBatch {
    const { documents, cursorId, postBatchToken } = readRawAnswer(answer);
    this.#cursorId = cursorId;
    const bytes = documents.reduce((sum, { length }) => sum + length, 0);
    const isFull = documents.length >= this.#options.batchSize || bytes > SMALL_ANSWER_BYTES;
    return { events: documents, postBatchToken, isFull, ended: cursorId === 0n };
  }
}
