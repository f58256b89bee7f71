/**
 * Reads the events of the change stream without decoding their documents. The stream carries every write to every
 * watched collection, so the cost per event bounds the throughput of the whole node, and the history keeps hundreds of
 * thousands of events for minutes. The envelope is therefore parsed by hand, and documents stay as slices of the buffer
 * that the server sent.
 */

import type { Namespaces } from "./read-set.ts";

/** The effect of one change event of MongoDB on a document; images are raw BSON, exactly as the server sent them. */
export interface ChangeEvent {
  readonly operation: "insert" | "update" | "replace" | "delete";
  /** `database.collection`. */
  readonly namespace: string;
  /** The whole document key, raw: `_id`, and the shard key where there is one. */
  readonly documentKey: Uint8Array;
  /** The pre-image; absent for an insert, and where the server has none. */
  readonly before: Uint8Array | undefined;
  /** The post-image; absent for a delete, and where the server has none. */
  readonly after: Uint8Array | undefined;
}

/**
 * The content of a whole collection was replaced or lost without an event for each document (drop, rename, `$out`,
 * dropDatabase), so its live queries must read it again.
 */
export interface CollectionReplaced {
  readonly operation: "replaced-collection";
  readonly namespace: string;
  /** The server's own name of the operation, for the log. */
  readonly by: string;
}

/** An event of a watched collection: a write to a document, or the replacement of the whole collection. */
export type StreamEvent = ChangeEvent | CollectionReplaced;

/** Whether the event is a write to one document. */
export const isChangeEvent = (event: StreamEvent): event is ChangeEvent =>
  event.operation !== "replaced-collection";

/** Groups events by collection. The events of each collection keep their order. */
export function byNamespace(
  events: readonly StreamEvent[],
): Iterable<readonly [string, readonly StreamEvent[]]> {
  const [first] = events;
  if (events.length === 1 && first !== undefined) return [[first.namespace, events]];
  const groups = new Map<string, StreamEvent[]>();
  for (const event of events) {
    const group = groups.get(event.namespace);
    if (group === undefined) groups.set(event.namespace, [event]);
    else group.push(event);
  }
  return groups;
}

/** Whether the event carries every image that its operation has. */
export function hasImages({ operation, before, after }: ChangeEvent): boolean {
  if (operation === "insert") return after !== undefined;
  if (operation === "delete") return before !== undefined;
  return before !== undefined && after !== undefined;
}

/**
 * The events that became visible at once: the one event of a single write, or all events of a multi-document
 * transaction. A commit is indivisible: it is never delivered, saved or resumed in part.
 */
export interface Commit {
  readonly events: readonly StreamEvent[];
  readonly clusterTime: bigint;
  /**
   * Distinguishes commits of one cluster time. It is equal on every node and under every pipeline: the event's token,
   * or the session and number of the transaction. It may contain an `_id`, so it never leaves the service.
   */
  readonly identity: string;
  /** Size of the raw events, in bytes. */
  readonly bytes: number;
  /** The server's date of the write in epoch milliseconds; `null` before MongoDB 6.0. For lag only. */
  readonly wallTimeMs: number | null;
}

/** The offsets of a value in a raw document. `end` is exclusive. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** One event as the server sent it, before commits are assembled. */
export interface ParsedEvent {
  readonly raw: Buffer;
  readonly token: Span;
  readonly operation: string;
  readonly clusterTime: bigint;
  readonly wallTimeMs: number | null;
  readonly namespace: string;
  readonly renamedTo: string | undefined;
  readonly transaction: string | undefined;
  readonly documentKey: Span | undefined;
  readonly before: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
}

/** The resume token of an event, as raw BSON. */
export const rawTokenOf = ({ raw, token }: ParsedEvent): Uint8Array => raw.subarray(token.start, token.end);

/**
 * A change as the history keeps it for minutes. There are hundreds of thousands of these, and each object fewer makes
 * garbage collection faster. So rarely needed values are read from the raw event on each access.
 */
class RawChangeEvent implements ChangeEvent {
  readonly operation: ChangeEvent["operation"];
  readonly namespace: string;
  readonly before: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
  // Offsets instead of a slice: a slice would be one more object for each change in the history.
  readonly #raw: Buffer;
  readonly #keyStart: number;
  readonly #keyEnd: number;

  constructor(event: ParsedEvent, operation: ChangeEvent["operation"], key: Span) {
    this.operation = operation;
    this.namespace = event.namespace;
    this.before = event.before;
    this.after = event.after;
    this.#raw = event.raw;
    this.#keyStart = key.start;
    this.#keyEnd = key.end;
  }

  get documentKey(): Uint8Array {
    return this.#raw.subarray(this.#keyStart, this.#keyEnd);
  }
}

/**
 * The commit of a write outside a transaction. `identity` and `bytes` are read from the raw event, for the reason given
 * at `RawChangeEvent`.
 */
export class SingleCommit implements Commit {
  readonly events: readonly StreamEvent[];
  readonly clusterTime: bigint;
  readonly wallTimeMs: number | null;
  readonly #raw: Buffer;
  readonly #tokenStart: number;

  constructor(event: ParsedEvent, events: readonly StreamEvent[]) {
    this.events = events;
    this.clusterTime = event.clusterTime;
    this.wallTimeMs = event.wallTimeMs;
    this.#raw = event.raw;
    this.#tokenStart = event.token.start;
  }

  get identity(): string {
    return readTokenData(this.#raw, this.#tokenStart);
  }

  get bytes(): number {
    return this.#raw.length;
  }
}

const TYPE_DOUBLE = 1;
const TYPE_STRING = 2;
const TYPE_DOCUMENT = 3;
const TYPE_ARRAY = 4;
const TYPE_BINARY = 5;
const TYPE_DB_POINTER = 12;
const FIXED_SIZE = new Map([
  [TYPE_DOUBLE, 8],
  [6, 0], // undefined
  [7, 12], // ObjectId
  [8, 1], // boolean
  [9, 8], // date
  [10, 0], // null
  [16, 4], // int32
  [17, 8], // timestamp
  [18, 8], // int64
  [19, 16], // decimal128
  [0xff, 0],
  [0x7f, 0],
]);

/**
 * Size of the value at `offset`, in bytes. It supports the types that the envelope of a change event and a document key
 * can contain, and no others.
 */
function valueSize(raw: Buffer, type: number, offset: number): number {
  const fixed = FIXED_SIZE.get(type);
  if (fixed !== undefined) return fixed;
  if (type === TYPE_STRING || type === 13 || type === 14) return 4 + raw.readInt32LE(offset);
  if (type === TYPE_DOCUMENT || type === TYPE_ARRAY || type === 15) return raw.readInt32LE(offset);
  if (type === TYPE_BINARY) return 5 + raw.readInt32LE(offset);
  if (type === TYPE_DB_POINTER) return 16 + raw.readInt32LE(offset);
  throw new TypeError(`a change event holds an unexpected BSON type ${type}`);
}

/**
 * Strings of the envelope. Known ones are recognized by their bytes, because making a string of each would cost more
 * than the rest of the parsing.
 */
const KNOWN_NAMES = new Map(
  [
    ...["_id", "_data", "operationType", "clusterTime", "wallTime", "ns", "db", "coll", "to", "documentKey"],
    ...["fullDocument", "fullDocumentBeforeChange", "lsid", "txnNumber"],
    ...["id", "postBatchResumeToken", "atClusterTime", "firstBatch", "nextBatch"],
    ...["insert", "update", "replace", "delete"],
  ].map((name) => [hashOf(Buffer.from(name), 0, name.length), name]),
);

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  // A cheap rolling hash. A collision is harmless, because `isNamed` compares the bytes as well.
  let hash = 0;
  for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + (bytes[at] ?? 0)) | 0;
  return hash;
}

function nameAt(raw: Buffer, start: number, end: number): string {
  const known = KNOWN_NAMES.get(hashOf(raw, start, end));
  return known !== undefined && isNamed(raw, start, end, known) ? known : raw.toString("latin1", start, end);
}

function isNamed(raw: Buffer, start: number, end: number, name: string): boolean {
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (raw[start + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** Walks the elements of the raw document that begins at `from`, and gives name, type and offsets of each value. */
export function forEachElement(
  raw: Buffer,
  visit: (name: string, type: number, start: number, end: number) => void,
  from = 0,
): void {
  let offset = from + 4;
  for (let type = raw[offset++]; type !== undefined && type !== 0; type = raw[offset++]) {
    let nameEnd = offset;
    while (raw[nameEnd] !== 0 && nameEnd < raw.length) nameEnd++;
    const name = nameAt(raw, offset, nameEnd);
    const start = nameEnd + 1;
    const end = start + valueSize(raw, type, start);
    visit(name, type, start, end);
    offset = end;
  }
}

const readString = (raw: Buffer, start: number, end: number) => raw.toString("utf8", start + 4, end - 1);

/**
 * Full names that were read before, by a hash of their bytes. The events of a node name few collections, and a lookup
 * is cheaper than decoding two strings.
 */
const knownNamespaces = new Map<number, { readonly said: Buffer; readonly name: string }>();
const KNOWN_NAMESPACES_MAX = 1_000;

function namespaceAt(raw: Buffer, start: number, end: number): string {
  const hash = hashOf(raw, start, end);
  const known = knownNamespaces.get(hash);
  if (known !== undefined && raw.compare(known.said, 0, known.said.length, start, end) === 0)
    return known.name;
  const name = readNamespace(raw, start);
  // The bound limits the memory. Starting over costs one decoding per name.
  if (knownNamespaces.size >= KNOWN_NAMESPACES_MAX) knownNamespaces.clear();
  knownNamespaces.set(hash, { said: Buffer.from(raw.subarray(start, end)), name });
  return name;
}

/** The full name of a collection, read from `{db, coll}` at `from`; only the database where there is no collection. */
function readNamespace(raw: Buffer, from: number): string {
  let database = "";
  let collection = "";
  forEachElement(
    raw,
    (name, type, start, end) => {
      if (type !== TYPE_STRING) return;
      if (name === "db") database = readString(raw, start, end);
      if (name === "coll") collection = readString(raw, start, end);
    },
    from,
  );
  return collection === "" ? database : `${database}.${collection}`;
}

/** The string inside the resume token that begins at `from`. It orders tokens and identifies them. */
export function readTokenData(raw: Buffer, from = 0): string {
  let token = "";
  forEachElement(
    raw,
    (name, type, start, end) => {
      if (name === "_data" && type === TYPE_STRING) token = raw.toString("latin1", start + 4, end - 1);
    },
    from,
  );
  // Some servers' tokens are no KeyString. Their bytes identify them as well.
  return token === "" ? raw.toString("hex", from, from + raw.readInt32LE(from)) : token;
}

const NOWHERE: Span = { start: 0, end: 0 };

/**
 * Parses one raw change event without decoding its documents, which costs about a twentieth of a full decode. The
 * envelope is that of the change streams' specification. Unknown fields are skipped, so that a newer server can add
 * some.
 */
export function parseEvent(raw: Buffer): ParsedEvent {
  const event = {
    raw,
    token: NOWHERE,
    operation: "",
    clusterTime: 0n,
    wallTimeMs: null as number | null,
    namespace: "",
    renamedTo: undefined as string | undefined,
    transaction: undefined as string | undefined,
    documentKey: undefined as Span | undefined,
    before: undefined as Uint8Array | undefined,
    after: undefined as Uint8Array | undefined,
  };
  let session = "";
  let transactionNumber = "";
  forEachElement(raw, (name, type, start, end) => {
    const isDocument = type === TYPE_DOCUMENT;
    if (name === "_id" && isDocument) event.token = { start, end };
    else if (name === "operationType") event.operation = nameAt(raw, start + 4, end - 1);
    else if (name === "clusterTime") event.clusterTime = raw.readBigUInt64LE(start);
    else if (name === "wallTime" && type === 9) event.wallTimeMs = Number(raw.readBigInt64LE(start));
    else if (name === "ns" && isDocument) event.namespace = namespaceAt(raw, start, end);
    else if (name === "to" && isDocument) event.renamedTo = namespaceAt(raw, start, end);
    else if (name === "documentKey" && isDocument) event.documentKey = { start, end };
    else if (name === "fullDocument" && isDocument) event.after = raw.subarray(start, end);
    else if (name === "fullDocumentBeforeChange" && isDocument) event.before = raw.subarray(start, end);
    else if (name === "lsid" && isDocument) session = raw.toString("base64", start, end);
    else if (name === "txnNumber") transactionNumber = raw.readBigInt64LE(start).toString();
  });
  // The transaction number alone repeats: it counts within one session.
  if (session !== "" && transactionNumber !== "") event.transaction = `${session}:${transactionNumber}`;
  return event;
}

const DOCUMENT_OPERATIONS = new Set(["insert", "update", "replace", "delete"]);
/** Whether an event is a write to one document. */
export const isDocumentOperation = (operation: string): boolean => DOCUMENT_OPERATIONS.has(operation);

const REPLACING_OPERATIONS = new Set(["drop", "rename", "dropDatabase"]);

/** The effect of an event on the watched namespaces; empty for most events that concern no document. */
export function toStreamEvents(event: ParsedEvent, watched: Namespaces): StreamEvent[] {
  if (DOCUMENT_OPERATIONS.has(event.operation)) {
    if (!watched.has(event.namespace) || event.documentKey === undefined) return [];
    // Narrowed by the set above.
    return [new RawChangeEvent(event, event.operation as ChangeEvent["operation"], event.documentKey)];
  }
  if (!REPLACING_OPERATIONS.has(event.operation)) return [];
  const concerned =
    // `dropDatabase` names a database only, and the server sends no `drop` for a collection that the pipeline filtered
    // out.
    event.operation === "dropDatabase"
      ? [...watched].filter((namespace) => namespace.startsWith(`${event.namespace}.`))
      : [event.namespace, event.renamedTo].filter((name) => name !== undefined && watched.has(name));
  return concerned.map((namespace) => ({
    operation: "replaced-collection",
    namespace: namespace as string, // `undefined` was filtered out above
    by: event.operation,
  }));
}
