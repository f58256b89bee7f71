/**
 * Converts BSON bytes to JSON text in one step, applying the projection on the way (docs/protocol.md, sections 2 and
 * 8). Decoding to objects first would cost more, and would lose some types.
 */
import { Decimal128 } from "mongodb";
import type { ValueMode } from "../protocol/messages.ts";
import {
  afterCString,
  asBuffer,
  BSON_TYPE,
  type BsonValue,
  bigIntAt,
  byteAt,
  cStringAt,
  doubleAt,
  int32At,
  longAsNumberAt,
  stringAt,
  valueEnd,
} from "./bson-value.ts";
import { JsonWriter } from "./json-writer.ts";
import { isSafeLongAt } from "./numbers.ts";
import type { Projection } from "./projection-fields.ts";
import { type Shown, VisibleElements } from "./visible-elements.ts";

/** The visible part of a document, as JSON text. */
export function encodeDocument(document: Uint8Array, projection: Projection, mode: ValueMode): string {
  return encode(BSON_TYPE.object, document, 0, projection, mode);
}

/** One value, as JSON text. */
export function encodeValue(value: BsonValue, mode: ValueMode): string {
  return encode(value.type, value.bytes, value.start, true, mode);
}

/** The visible part of the value at a cursor, as JSON text. */
export function encodeVisible(element: VisibleElements, mode: ValueMode): string {
  return encode(element.type, element.bytes, element.start, element.shown, mode);
}

/** One writer is enough, because encoding never waits. */
const writer = new JsonWriter();

function encode(type: number, bytes: Uint8Array, at: number, shown: Shown, mode: ValueMode): string {
  try {
    writeValue(writer, type, bytes, at, shown, mode);
    return writer.finish();
  } finally {
    // Broken BSON throws half-way, and must not leave a part of its text behind.
    writer.reset();
  }
}

export const COMMA = 0x2c;
const COLON = 0x3a;
export const QUOTE = 0x22;
export const OBJECT_START = 0x7b;
export const OBJECT_END = 0x7d;
export const ARRAY_START = 0x5b;
export const ARRAY_END = 0x5d;

function writeObject(writer: JsonWriter, elements: VisibleElements, mode: ValueMode): void {
  writer.byte(OBJECT_START);
  for (let isFirst = true; elements.next(); isFirst = false) {
    writeName(writer, elements, isFirst);
    writeValue(writer, elements.type, elements.bytes, elements.start, elements.shown, mode);
  }
  writer.byte(OBJECT_END);
}

function writeArray(writer: JsonWriter, elements: VisibleElements, mode: ValueMode): void {
  writer.byte(ARRAY_START);
  for (let isFirst = true; elements.next(); isFirst = false) {
    if (!isFirst) writer.byte(COMMA);
    writeValue(writer, elements.type, elements.bytes, elements.start, elements.shown, mode);
  }
  writer.byte(ARRAY_END);
}

/** Writes the comma, name and colon before a value in an object. */
export function writeName(writer: JsonWriter, elements: VisibleElements, isFirst: boolean): void {
  if (!isFirst) writer.byte(COMMA);
  writer.string(elements.bytes, elements.nameStart, elements.start - 1);
  writer.byte(COLON);
}

/** Writes a value, or its visible part, in one step. */
export function writeValue(
  writer: JsonWriter,
  type: number,
  bytes: Uint8Array,
  at: number,
  shown: Shown,
  mode: ValueMode,
): void {
  switch (type) {
    case BSON_TYPE.string:
      writer.string(bytes, at + 4, at + 3 + int32At(bytes, at));
      break;
    case BSON_TYPE.int:
      writer.ascii(String(int32At(bytes, at)));
      break;
    case BSON_TYPE.double:
      writer.ascii(doubleText(doubleAt(bytes, at), mode));
      break;
    case BSON_TYPE.long:
      writer.ascii(longText(bytes, at, mode));
      break;
    case BSON_TYPE.object:
      writeObject(writer, new VisibleElements(shown, bytes, at, false), mode);
      break;
    case BSON_TYPE.array:
      writeArray(writer, new VisibleElements(shown, bytes, at, true), mode);
      break;
    case BSON_TYPE.bool:
      writer.ascii(byteAt(bytes, at) === 0 ? "false" : "true");
      break;
    case BSON_TYPE.null:
      writer.ascii("null");
      break;
    case BSON_TYPE.objectId:
      writeObjectId(writer, bytes, at, mode);
      break;
    case BSON_TYPE.date:
      writer.ascii(dateText(bytes, at, mode));
      break;
    case BSON_TYPE.codeWithScope:
      writeObject(writer, writeCode(writer, bytes, at), mode);
      writer.byte(OBJECT_END);
      break;
    default:
      writer.json(rareText(type, bytes, at, mode));
  }
}

function writeObjectId(writer: JsonWriter, bytes: Uint8Array, at: number, mode: ValueMode): void {
  writer.ascii(mode === "json" ? '"' : '{"$oid":"');
  writer.hex(bytes, at, at + 12);
  writer.byte(QUOTE);
  if (mode === "ejson") writer.byte(OBJECT_END);
}

/**
 * Writes code with a scope up to the scope.
 * @returns The fields of the scope, which the caller must write next, followed by the end.
 */
export function writeCode(writer: JsonWriter, bytes: Uint8Array, at: number): VisibleElements {
  writer.json(`{"$code":${JSON.stringify(stringAt(bytes, at + 4))},"$scope":`);
  return new VisibleElements(true, bytes, valueEnd(BSON_TYPE.string, bytes, at + 4), false);
}

function rareText(type: number, bytes: Uint8Array, at: number, mode: ValueMode): string {
  switch (type) {
    case BSON_TYPE.decimal: {
      const text = new Decimal128(bytes.subarray(at, at + 16)).toString();
      return mode === "json" ? `"${text}"` : `{"$numberDecimal":"${text}"}`;
    }
    case BSON_TYPE.binData:
      return binaryText(bytes, at, mode);
    case BSON_TYPE.regex: {
      const pattern = cStringAt(bytes, at);
      const options = cStringAt(bytes, afterCString(bytes, at));
      return JSON.stringify(
        mode === "json" ? `/${pattern}/${options}` : { $regularExpression: { pattern, options } },
      );
    }
    case BSON_TYPE.timestamp:
      return `{"$timestamp":{"t":${int32At(bytes, at + 4) >>> 0},"i":${int32At(bytes, at) >>> 0}}}`;
    case BSON_TYPE.symbol:
      return JSON.stringify({ $symbol: stringAt(bytes, at) });
    case BSON_TYPE.code:
      return JSON.stringify({ $code: stringAt(bytes, at) });
    case BSON_TYPE.dbPointer: {
      const id = valueEnd(BSON_TYPE.string, bytes, at);
      const $id = { $oid: asBuffer(bytes).toString("hex", id, id + 12) };
      return JSON.stringify({ $dbPointer: { $ref: stringAt(bytes, at), $id } });
    }
    case BSON_TYPE.undefined:
      return `{"$undefined":true}`;
    case BSON_TYPE.minKey:
      return `{"$minKey":1}`;
    default:
      return `{"$maxKey":1}`;
  }
}

function doubleText(value: number, mode: ValueMode): string {
  if (Object.is(value, -0)) return mode === "json" ? "-0" : `{"$numberDouble":"-0.0"}`;
  if (Number.isFinite(value)) return String(value);
  return mode === "json" ? "null" : `{"$numberDouble":"${value}"}`;
}

function longText(bytes: Uint8Array, at: number, mode: ValueMode): string {
  if (isSafeLongAt(bytes, at)) return String(longAsNumberAt(bytes, at));
  const text = bigIntAt(bytes, at).toString();
  return mode === "json" ? `"${text}"` : `{"$numberLong":"${text}"}`;
}

/** The last millisecond of the year 9999. Relaxed Extended JSON writes later dates as numbers. */
const MAX_RELAXED_DATE = 253_402_300_799_999;

function dateText(bytes: Uint8Array, at: number, mode: ValueMode): string {
  const epochMs = isSafeLongAt(bytes, at) ? longAsNumberAt(bytes, at) : Number.NaN;
  const date = new Date(epochMs);
  if (mode === "json" && !Number.isNaN(date.getTime())) return `"${date.toISOString()}"`;
  if (epochMs >= 0 && epochMs <= MAX_RELAXED_DATE) {
    return `{"$date":"${date.toISOString().replace(".000Z", "Z")}"}`;
  }
  return `{"$date":{"$numberLong":"${bigIntAt(bytes, at)}"}}`;
}

const UUID = 4;
const OLD_BINARY = 2;

function binaryText(bytes: Uint8Array, at: number, mode: ValueMode): string {
  const subType = byteAt(bytes, at + 4);
  const end = at + 5 + int32At(bytes, at);
  if (mode === "json" && subType === UUID && end - at === 21) {
    const hex = asBuffer(bytes).toString("hex", at + 5, end);
    return `"${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}"`;
  }
  const base64 = asBuffer(bytes).toString("base64", binaryStart(bytes, at), end);
  return BINARY_HEAD[mode] + base64 + binaryTail(subType, mode);
}

/** The text before the base64 of a binary value. */
export const BINARY_HEAD = { json: '"', ejson: '{"$binary":{"base64":"' } as const;
/** The text after the base64 of a binary value. */
export const binaryTail = (subType: number, mode: ValueMode): string =>
  mode === "json" ? '"' : `","subType":"${subType.toString(16).padStart(2, "0")}"}}`;

/** The offset of the content of a binary value. The old subtype repeats the length before it. */
export function binaryStart(bytes: Uint8Array, at: number): number {
  return byteAt(bytes, at + 4) === OLD_BINARY ? at + 9 : at + 5;
}
