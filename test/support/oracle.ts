/** The server as the judge: what a query's result was at the moment that a cursor names. */
import {
  type Binary,
  BSON,
  type Document,
  Long,
  type MongoClient,
  MongoServerError,
  Timestamp,
} from "mongodb";
import { BEFORE, CursorCodec, type Position } from "../../src/feed/cursor.ts";
import type { AggregateRequest, ValueMode } from "../../src/protocol/messages.ts";

const { EJSON } = BSON;

/** A query as the server is asked it: the rule's filter and the client's, and what the rule lets of the fields. */
export interface OracleQuery {
  readonly database: string;
  readonly collection: string;
  readonly filter: Document;
  /** Projections, one applied to what the other leaves. */
  readonly projections: readonly Document[];
  readonly sort?: Document;
  readonly limit?: number;
  /** A stage that makes groups of the documents; without projections. */
  readonly group?: Document;
}

/** Documents as JSON text, by the text of their `_id`. */
export type Result = ReadonlyMap<string, string>;

/** SnapshotUnavailable, SnapshotTooOld: the server's catalog or history no longer reaches back to that time. */
const NOT_READABLE = new Set([246, 239]);

const MAX_TIME = 2n ** 64n - 1n;

export class Oracle {
  readonly #client: MongoClient;
  readonly #stateDatabase: string;
  readonly #codecs = new Map<string, CursorCodec>();
  /** Up to this time a collection of the same name was another one, of which nobody can be asked any more. */
  #replacedAt = 0n;

  constructor(client: MongoClient, stateDatabase: string) {
    this.#client = client;
    this.#stateDatabase = stateDatabase;
  }

  /** Reads the key of the epoch in force, with which cursors can be read. */
  async learnEpoch(): Promise<CursorCodec> {
    const saved = await this.#client
      .db(this.#stateDatabase)
      .collection<{ _id: string; epoch: string; cursorKey: Binary }>("epochs")
      .findOne({ _id: "current" });
    if (saved === null) throw new Error("the service has not begun an epoch yet");
    const codec = new CursorCodec({ id: saved.epoch, cursorKey: saved.cursorKey.value() });
    this.#codecs.set(saved.epoch, codec);
    return codec;
  }

  /** Does what replaces a collection as a whole. */
  async replacing(work: () => Promise<unknown>): Promise<void> {
    this.#replacedAt = MAX_TIME;
    await work();
    const { operationTime } = await this.#client.db("admin").command({ ping: 1 });
    this.#replacedAt = operationTime.toBigInt();
  }

  /** @throws where the cursor is not genuine, or of an epoch that was not learned. */
  decode(cursor: string): Position {
    const codec = this.#codecs.get(Buffer.from(cursor, "base64url").toString("hex", 0, 4));
    const position = codec?.decode(cursor) ?? "other-epoch";
    if (typeof position === "string") throw new Error(`${cursor} is ${position}`);
    return position;
  }

  /** The result just at the cursor; `null` if the server does not know it any more. */
  async find(query: OracleQuery, cursor: string, mode: ValueMode): Promise<Result | null> {
    const { clusterTime, within } = this.decode(cursor);
    const time = within === BEFORE ? clusterTime - 1n : clusterTime;
    try {
      const found = await this.findAt(query, time, mode);
      return time < this.#replacedAt ? null : found;
    } catch (error) {
      if (error instanceof MongoServerError && NOT_READABLE.has(Number(error.code))) return null;
      throw error;
    }
  }

  /** @returns `null` while the collection does not exist: it may have been dropped since. */
  async findAt(query: OracleQuery, clusterTime: bigint, mode: ValueMode): Promise<Result | null> {
    const answer = await this.#client.db(query.database).command({
      aggregate: query.collection,
      pipeline: [
        { $match: query.filter },
        ...(query.sort === undefined ? [] : [{ $sort: query.sort }]),
        ...(query.limit === undefined ? [] : [{ $limit: query.limit }]),
        ...(query.group === undefined ? [] : [{ $group: query.group }]),
        ...query.projections.map(($project) => ({ $project })),
      ],
      cursor: { batchSize: 100_000 },
      readConcern: { level: "snapshot", atClusterTime: new Timestamp(clusterTime) },
      collation: { locale: "simple" },
    });
    if (answer["cursor"].id.toString() !== "0") throw new Error("the result is larger than one batch");
    if (answer["cursor"].atClusterTime === undefined) return null;
    const documents: Document[] = answer["cursor"].firstBatch;
    if (query.group?.["_id"] === null && documents.length === 0) documents.push(rowOfNothing(query.group));
    return new Map(documents.map((document) => [textOf(document["_id"], mode), textOf(document, mode)]));
  }
}

/** [3.4] Without `by`, no documents make one row. */
function rowOfNothing(group: Document): Document {
  const isZero = (value: Document) => "$sum" in value;
  const values = Object.entries(group).map(([name, value]) => [
    name,
    name === "_id" || !isZero(value) ? null : 0,
  ]);
  return Object.fromEntries(values);
}

/** The server's stage for the `aggregate` of a request. */
export function groupOf({ by, values = { count: { count: true } } }: AggregateRequest): Document {
  const accumulators = Object.entries(values).map(([name, value]) => {
    const [operator = "", path] = Object.entries(value)[0] ?? [];
    return [name, operator === "count" ? { $sum: 1 } : { [`$${operator}`]: `$${path}` }];
  });
  const paths = by === undefined || typeof by === "string" ? [] : by.map((path) => [path, `$${path}`]);
  const _id = by === undefined ? null : typeof by === "string" ? `$${by}` : Object.fromEntries(paths);
  return { _id, ...Object.fromEntries(accumulators) };
}

/**
 * A document as protocol.md, section 2, wants it written, by other means than the service's own: of the types
 * that the tests write, and no others.
 */
export function textOf(value: unknown, mode: ValueMode): string {
  return JSON.stringify(toJson(value, mode));
}

function toJson(value: unknown, mode: ValueMode): unknown {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return value;
  if (value instanceof Long) return mode === "json" ? value.toString() : { $numberLong: value.toString() };
  if (value instanceof Date && mode === "json") return value.toISOString();
  if (Array.isArray(value)) return value.map((item) => toJson(item, mode));
  if (typeof value !== "object") throw new TypeError(`a ${typeof value} in a test's document`);
  const bsonType = (value as { _bsontype?: string })._bsontype; // bson's classes say so
  if (bsonType === "ObjectId" && mode === "json") return String(value);
  if (bsonType !== undefined || value instanceof Date)
    return EJSON.serialize({ value }, { relaxed: true })["value"];
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, toJson(inner, mode)]));
}

/** The difference of two results, as readable text. */
export function differencesOf(held: Result, found: Result): string[] {
  const differences: string[] = [];
  for (const [id, text] of found) {
    const other = held.get(id);
    if (other === undefined) differences.push(`missing ${text}`);
    else if (other !== text) differences.push(`${id}: held ${other}, find gives ${text}`);
  }
  for (const [id, text] of held) if (!found.has(id)) differences.push(`too much: ${text}`);
  return differences;
}
