/**
 * Makes documents and arrays from values that are copied byte by byte. Nothing in them is interpreted, so a value of a
 * client can never turn into an operator or another type.
 */
import { BSON_TYPE, type BsonValue } from "./bson-value.ts";

/**
 * A document.
 * @param entries Names without NUL, and their values.
 */
export const documentOf = (entries: Iterable<readonly [name: string, value: BsonValue]>): BsonValue =>
  elementsIn(BSON_TYPE.object, entries);

/** An array of these values. */
export const arrayOf = (values: readonly BsonValue[]): BsonValue =>
  elementsIn(
    BSON_TYPE.array,
    values.map((value, index) => [String(index), value] as const),
  );

/** An int32. */
export function int32(value: number): BsonValue {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return whole(BSON_TYPE.int, bytes);
}

/** An int64. */
export function int64(value: bigint): BsonValue {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, value, true);
  return whole(BSON_TYPE.long, bytes);
}

/** A double. */
export function double(value: number): BsonValue {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return whole(BSON_TYPE.double, bytes);
}

/** Null. */
export const NULL: BsonValue = whole(BSON_TYPE.null, new Uint8Array(0));

/** A boolean. */
export const bool = (value: boolean): BsonValue => whole(BSON_TYPE.bool, Uint8Array.of(value ? 1 : 0));

/** A string. */
export function string(value: string): BsonValue {
  const size = Buffer.byteLength(value);
  const bytes = Buffer.alloc(4 + size + 1);
  bytes.writeInt32LE(size + 1, 0);
  bytes.write(value, 4);
  return whole(BSON_TYPE.string, bytes);
}

/** The bytes of a value alone. */
export const bytesOf = ({ bytes, start, end }: BsonValue): Uint8Array => bytes.subarray(start, end);

function elementsIn(type: number, entries: Iterable<readonly [string, BsonValue]>): BsonValue {
  const parts: Uint8Array[] = [Buffer.alloc(4)];
  let size = 5;
  for (const [name, value] of entries) {
    const head = Buffer.from(`\0${name}\0`);
    head[0] = value.type;
    parts.push(head, bytesOf(value));
    size += head.length + value.end - value.start;
  }
  const bytes = Buffer.concat([...parts, Uint8Array.of(0)], size);
  bytes.writeInt32LE(size, 0);
  return whole(type, bytes);
}

function whole(type: number, bytes: Uint8Array): BsonValue {
  return { type, bytes, start: 0, end: bytes.length };
}
