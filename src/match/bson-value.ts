/**
 * Views on raw BSON. The server's types (int, long, double, decimal) decide what matches and how values are written, so
 * nothing here decodes a document: functions take a buffer and an offset. Decoding would also dominate the cost of
 * matching, because most filters read one or two fields of a document.
 */
import { BSON } from "mongodb";
import { longLivedCopy } from "./long-lived.ts";

/** The BSON types, by the byte that precedes the value (bsonspec.org). `missing` is our own, for an absent field. */
export const BSON_TYPE = {
  missing: 0,
  double: 1,
  string: 2,
  object: 3,
  array: 4,
  binData: 5,
  undefined: 6,
  objectId: 7,
  bool: 8,
  date: 9,
  null: 10,
  regex: 11,
  dbPointer: 12,
  code: 13,
  symbol: 14,
  codeWithScope: 15,
  int: 16,
  timestamp: 17,
  long: 18,
  decimal: 19,
  maxKey: 127,
  minKey: 255,
} as const;

/** One value inside a buffer. `start` and `end` enclose the value alone, without type byte and name. */
export interface BsonValue {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** The byte at an offset. Past the end it is 0, which ends every loop over elements. */
export function byteAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}

/** V8 keeps an array of at most this many bytes inside of the object, until something asks for its `buffer`. */
const INLINE_BYTES = 64;

/** The same bytes as a Buffer, whose string functions are native. To be read only, because it may be a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  if (bytes.length <= INLINE_BYTES) return Buffer.from(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The text of a string, code or symbol value. Invalid UTF-8 is read as U+FFFD. */
export function stringAt(bytes: Uint8Array, at: number): string {
  return asBuffer(bytes).toString("utf8", at + 4, at + 3 + int32At(bytes, at));
}

/** The text of a C string: a field name, or the pattern or options of a regular expression. */
export function cStringAt(bytes: Uint8Array, at: number): string {
  return asBuffer(bytes).toString("utf8", at, afterCString(bytes, at) - 1);
}

/** A little-endian int32. */
export function int32At(bytes: Uint8Array, at: number): number {
  return (
    byteAt(bytes, at) |
    (byteAt(bytes, at + 1) << 8) |
    (byteAt(bytes, at + 2) << 16) |
    (byteAt(bytes, at + 3) << 24)
  );
}

const scratch = new Uint8Array(8);
const scratchDouble = new Float64Array(scratch.buffer);

/** A double. All reads share one scratch buffer, because a DataView per document would cost more than the read. */
export function doubleAt(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) scratch[i] = byteAt(bytes, at + i);
  return scratchDouble[0] ?? 0;
}

/** A signed 64-bit integer, exact. */
export function bigIntAt(bytes: Uint8Array, at: number): bigint {
  return (BigInt(int32At(bytes, at + 4)) << 32n) | BigInt(int32At(bytes, at) >>> 0);
}

/** A signed 64-bit integer as a number, exact only if it is a safe integer. */
export function longAsNumberAt(bytes: Uint8Array, at: number): number {
  return int32At(bytes, at + 4) * 4_294_967_296 + (int32At(bytes, at) >>> 0);
}

/** The offset after the NUL that ends the C string at `at`. */
export function afterCString(bytes: Uint8Array, at: number): number {
  let end = at;
  while (byteAt(bytes, end) !== 0) end++;
  return end + 1;
}

/** The end of the value of this type that starts at `at`. */
export function valueEnd(type: number, bytes: Uint8Array, at: number): number {
  switch (type) {
    case BSON_TYPE.double:
    case BSON_TYPE.date:
    case BSON_TYPE.timestamp:
    case BSON_TYPE.long:
      return at + 8;
    case BSON_TYPE.int:
      return at + 4;
    case BSON_TYPE.string:
    case BSON_TYPE.code:
    case BSON_TYPE.symbol:
      return at + 4 + int32At(bytes, at);
    case BSON_TYPE.object:
    case BSON_TYPE.array:
    case BSON_TYPE.codeWithScope:
      return at + int32At(bytes, at);
    case BSON_TYPE.bool:
      return at + 1;
    case BSON_TYPE.objectId:
      return at + 12;
    case BSON_TYPE.binData:
      return at + 5 + int32At(bytes, at);
    case BSON_TYPE.decimal:
      return at + 16;
    case BSON_TYPE.regex:
      return afterCString(bytes, afterCString(bytes, at));
    case BSON_TYPE.dbPointer:
      return at + 4 + int32At(bytes, at) + 12;
    case BSON_TYPE.null:
    case BSON_TYPE.undefined:
    case BSON_TYPE.minKey:
    case BSON_TYPE.maxKey:
    case BSON_TYPE.missing:
      return at;
    default:
      throw new RangeError(`not BSON: type ${type} at offset ${at}`);
  }
}

/** One element (type, name, value) of a document or array. */
export interface BsonElement extends BsonValue {
  /** The name is in `bytes` from here … */
  readonly nameStart: number;
  /** … to here, where its NUL is. */
  readonly nameEnd: number;
}

/**
 * The elements of a document or array that starts at `start`, in order. It is convenient but allocates, so hot paths
 * contain their own loops.
 */
export function* elementsOf(bytes: Uint8Array, start = 0): Generator<BsonElement> {
  let at = start + 4;
  for (let type = byteAt(bytes, at); type !== 0; type = byteAt(bytes, at)) {
    const nameStart = at + 1;
    const valueStart = afterCString(bytes, nameStart);
    const end = valueEnd(type, bytes, valueStart);
    yield { type, bytes, start: valueStart, end, nameStart, nameEnd: valueStart - 1 };
    at = end;
  }
}

/**
 * Converts a JavaScript or `bson` value to raw BSON. Numbers become Int32 if possible, as in the driver. Most of these
 * values become part of a filter, and are kept.
 */
export function fromJs(value: unknown): BsonValue {
  const document = BSON.serialize({ v: value }, { ignoreUndefined: false });
  const type = byteAt(document, 4);
  const bytes = longLivedCopy(document.subarray(7, valueEnd(type, document, 7)));
  return { type, bytes, start: 0, end: bytes.length };
}

/**
 * Converts a value to `bson` types that keep its exact type (`Int32`, `Long`, `Double`, …), for texts that people read.
 * Documents become maps, in which no key (`_bsontype`, `__proto__`, `0`) has a special meaning.
 */
export function toBson(value: BsonValue): unknown {
  const { type, bytes, start } = value;
  if (type === BSON_TYPE.array) return Array.from(elementsOf(bytes, start), toBson);
  if (type === BSON_TYPE.object) {
    const document = new Map<string, unknown>();
    for (const element of elementsOf(bytes, start))
      document.set(cStringAt(bytes, element.nameStart), toBson(element));
    return document;
  }
  const size = value.end - start;
  const wrapped = new Uint8Array(8 + size);
  new DataView(wrapped.buffer).setInt32(0, wrapped.length, true);
  wrapped[4] = type;
  wrapped[5] = 0x76;
  wrapped.set(bytes.subarray(start, value.end), 7);
  return BSON.deserialize(wrapped, { promoteValues: false, bsonRegExp: true })["v"];
}
