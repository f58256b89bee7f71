/**
 * Makes documents and arrays from values that are copied byte by byte. Nothing in them is interpreted, so a value of a
 * client can never turn into an operator or another type.
 */
import { BSON_TYPE, type BsonValue } from "./bson-value.ts";

/**
 * Numbers are written here and then copied. A view of their own bytes would make the engine move each of these few bytes
 * out of its heap, which takes longer than all the rest.
 */
const scratch = new DataView(new ArrayBuffer(8));
const scratchBytes = new Uint8Array(scratch.buffer);
const utf8 = new TextEncoder();
/** Up to so many bytes are copied one by one, which is quicker than a view of them. */
const LOOP_MAX = 64;

/**
 * A document, in memory of its own.
 * @param entries Names without NUL, and their values.
 */
export const documentOf = (entries: readonly (readonly [name: string, value: BsonValue])[]): BsonValue =>
  elementsIn(BSON_TYPE.object, entries);

/** An array of these values. */
export const arrayOf = (values: readonly BsonValue[]): BsonValue =>
  elementsIn(
    BSON_TYPE.array,
    values.map((value, index) => [String(index), value] as const),
  );

/** An int32. */
export function int32(value: number): BsonValue {
  scratch.setInt32(0, value, true);
  return whole(BSON_TYPE.int, scratchBytes.slice(0, 4));
}

/** An int64. */
export function int64(value: bigint): BsonValue {
  scratch.setBigInt64(0, value, true);
  return whole(BSON_TYPE.long, scratchBytes.slice());
}

/** A double. */
export function double(value: number): BsonValue {
  scratch.setFloat64(0, value, true);
  return whole(BSON_TYPE.double, scratchBytes.slice());
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
export const bytesOf = ({ bytes, start, end }: BsonValue): Uint8Array =>
  start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);

function elementsIn(type: number, entries: readonly (readonly [string, BsonValue])[]): BsonValue {
  let size = 5;
  for (const [name, value] of entries) size += 2 + Buffer.byteLength(name) + value.end - value.start;
  const bytes = new Uint8Array(size);
  scratch.setInt32(0, size, true);
  let at = copy(scratchBytes, 0, 4, bytes, 0);
  for (const [name, value] of entries) {
    bytes[at++] = value.type;
    // The zero that ends the name is there already, as is the one that ends the document.
    at = writeName(name, bytes, at) + 1;
    at = copy(value.bytes, value.start, value.end, bytes, at);
  }
  return whole(type, bytes);
}

function writeName(name: string, target: Uint8Array, at: number): number {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code >= 0x80) return at + utf8.encodeInto(name, target.subarray(at)).written;
    target[at + i] = code;
  }
  return at + name.length;
}

function copy(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): number {
  if (end - start > LOOP_MAX) target.set(source.subarray(start, end), at);
  else for (let from = start, to = at; from < end; from++, to++) target[to] = source[from] ?? 0;
  return at + end - start;
}

function whole(type: number, bytes: Uint8Array): BsonValue {
  return { type, bytes, start: 0, end: bytes.length };
}
