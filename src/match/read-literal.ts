/**
 * Reads Extended JSON v2, including plain JSON, as one BSON value. A literal comes from a client or a rule, so
 * malformed forms are refused and never read as another type.
 */
import { Binary, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID } from "mongodb";
import { isWellFormed } from "./paths.ts";

/** A value that is refused. The message says why. The filter parser converts it to `bad-filter`. */
export class LiteralRefused extends Error {
  override readonly name = "LiteralRefused";
}

/** The server's limit for documents is 180. */
const MAX_NESTING = 100;

const INT64_MAX = 2n ** 63n - 1n;

type Reader = (value: unknown) => unknown;

/** The wrappers that consist of one key with their name. */
const WRAPPERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["$oid", (value) => new ObjectId(text(value, /^[0-9a-fA-F]{24}$/))],
  ["$date", readDate],
  ["$numberInt", (value) => new Int32(Number(readInteger(value, 2n ** 31n - 1n)))],
  ["$numberLong", (value) => Long.fromBigInt(readInteger(value, INT64_MAX))],
  ["$numberDouble", readDouble],
  ["$numberDecimal", readDecimal],
  ["$binary", readBinary],
  ["$uuid", (value) => new UUID(text(value, /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i))],
  ["$timestamp", readTimestamp],
  ["$minKey", (value) => (value === 1 ? new MinKey() : refuse("must be 1"))],
  ["$maxKey", (value) => (value === 1 ? new MaxKey() : refuse("must be 1"))],
]);

function refuse(reason: string): never {
  throw new LiteralRefused(reason);
}

/** Whether this key makes an object one value of Extended JSON instead of a set of operators. */
export function isWrapperKey(key: string): boolean {
  return WRAPPERS.has(key);
}

/**
 * Whether a value is an object in the form of JSON or YAML. An instance of a class may have content that its keys do
 * not show.
 */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Callbacks that count and check the parts of a literal. */
export interface LiteralHooks {
  /** Called for each scalar, and for each empty array or object. */
  onValue(): void;
  /** Called for each string. It throws if the string is not allowed. */
  onString(text: string): void;
}

/**
 * Converts a literal to the input of `BSON.serialize`. Documents become maps, in which no key (`__proto__`,
 * `_bsontype`) has a special meaning.
 * @throws {LiteralRefused}
 */
export function readLiteral(value: unknown, hooks: LiteralHooks, nesting = 0): unknown {
  if (nesting > MAX_NESTING) refuse(`nests deeper than ${MAX_NESTING}`);
  if (Array.isArray(value)) {
    if (value.length === 0) hooks.onValue();
    return value.map((element) => readLiteral(element, hooks, nesting + 1));
  }
  if (isPlainObject(value)) return readObject(value, hooks, nesting);
  hooks.onValue();
  switch (typeof value) {
    case "boolean":
      return value;
    case "number":
      return readNumber(value);
    case "string":
      if (!isWellFormed(value)) refuse("is not well-formed Unicode");
      hooks.onString(value);
      return value;
    default:
      return value === null ? null : refuse(`is not a value of JSON (${typeof value})`);
  }
}

function readObject(value: Readonly<Record<string, unknown>>, hooks: LiteralHooks, nesting: number): unknown {
  const entries = Object.entries(value);
  const [key, content] = entries[0] ?? [];
  const wrapper = key === undefined ? undefined : WRAPPERS.get(key);
  if (wrapper !== undefined && key !== undefined) {
    hooks.onValue();
    if (entries.length > 1) refuse(`has other keys beside ${key}`);
    return readWrapped(key, wrapper, content);
  }
  if (entries.length === 0) hooks.onValue();
  const document = new Map<string, unknown>();
  for (const [name, member] of entries) {
    if (name.startsWith("$")) refuse(`holds ${name.slice(0, 40)} inside a value: operators stand on a path`);
    if (name.includes("\0") || !isWellFormed(name)) refuse("has a field name that is not well-formed text");
    document.set(name, readLiteral(member, hooks, nesting + 1));
  }
  return document;
}

function readWrapped(key: string, read: Reader, content: unknown): unknown {
  try {
    return read(content);
  } catch (cause) {
    // The bson types throw their own errors. Each means that the text does not have the type's form.
    const reason = cause instanceof LiteralRefused ? cause.message : "is not of the right form";
    throw new LiteralRefused(`${key} ${reason}`, { cause });
  }
}

function readNumber(value: number): unknown {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return new Double(value);
  return value === (value | 0) ? new Int32(value) : Long.fromNumber(value);
}

function text(value: unknown, form: RegExp): string {
  return typeof value === "string" && form.test(value) ? value : refuse("is not of the right form");
}

function readInteger(value: unknown, max: bigint): bigint {
  const integer = BigInt(text(value, /^-?[0-9]{1,19}$/));
  return integer > max || integer < -max - 1n ? refuse("is out of range") : integer;
}

function readDouble(value: unknown): Double {
  const written = text(value, /^(?:NaN|-?Infinity|-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)$/);
  return new Double(Number(written));
}

function readDecimal(value: unknown): Decimal128 {
  // Without rounding: a value with more than 34 digits is refused, not changed.
  return Decimal128.fromString(text(value, /^[-+0-9.eEa-zA-Z]{1,80}$/));
}

function readDate(value: unknown): Date {
  if (isPlainObject(value)) {
    const keys = Object.keys(value);
    if (keys.length !== 1) refuse("is not of the right form");
    return dateOf(Number(readInteger(value["$numberLong"], 8_640_000_000_000_000n)));
  }
  if (typeof value === "number") return dateOf(value);
  const form = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d))?$/;
  return dateOf(Date.parse(text(value, form)));
}

function dateOf(epochMs: number): Date {
  const date = new Date(epochMs);
  return Number.isInteger(epochMs) && !Number.isNaN(date.getTime()) ? date : refuse("is not a date");
}

function readBinary(value: unknown): Binary {
  if (!isPlainObject(value) || Object.keys(value).length !== 2) refuse("needs base64 and subType");
  const base64 = text(value["base64"], /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
  const subType = Number.parseInt(text(value["subType"], /^[0-9a-fA-F]{1,2}$/), 16);
  return new Binary(Buffer.from(base64, "base64"), subType);
}

function readTimestamp(value: unknown): Timestamp {
  if (!isPlainObject(value) || Object.keys(value).length !== 2) refuse("needs t and i");
  const { t, i } = value;
  if (!isUint32(t) || !isUint32(i)) refuse("needs t and i as integers below 2^32");
  return new Timestamp({ t, i });
}

function isUint32(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;
}
