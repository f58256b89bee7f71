/** Random BSON documents of all types, many of them equal or nearly so, and their parts as Extended JSON. */
import fc from "fast-check";
import {
  Binary,
  BSON,
  BSONRegExp,
  BSONSymbol,
  Code,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from "mongodb";
import { BSON_TYPE, type BsonValue, fromJs } from "../../src/match/bson-value.ts";

const { EJSON } = BSON;

/** A scalar as it lies in a document; `json` where a filter may hold it. */
export interface Sample {
  readonly value: BsonValue;
  readonly json?: unknown;
}

export type Tree =
  | { readonly scalar: Sample }
  | { readonly fields: readonly (readonly [name: string, tree: Tree])[] }
  | { readonly items: readonly Tree[] };

const sample = (value: unknown): Sample => ({
  value: fromJs(value),
  json: EJSON.serialize({ value }, { relaxed: false })["value"],
});

const raw = (type: number, ...bytes: number[]): Sample => ({
  value: { type, bytes: Uint8Array.from(bytes), start: 0, end: bytes.length },
});

const decimal = (text: string) => sample(Decimal128.fromString(text));
const long = (text: string) => sample(Long.fromString(text));
const double = (value: number) => sample(new Double(value));

export const NUMBERS: readonly Sample[] = [
  ...[0, 1, 2, 3, -1, 4, 1000].map((value) => sample(new Int32(value))),
  ...["0", "1", "2", "-3", "9007199254740993", "9007199254740992", "9223372036854775807"].map(long),
  ...["-9223372036854775808", "9007199254740991", "10000000000"].map(long),
  ...[0, -0, 1, 1.5, 0.1, -1.5, 2.5, Number.NaN, Infinity, -Infinity, 1e300, 5e-324].map(double),
  ...[9007199254740992, 2 ** 63, 1e19, -1.9, 2.7, 1e10].map(double),
  ...["0", "-0", "0E+6111", "1", "1.0", "1.500", "0.1", "NaN", "Infinity", "-Infinity", "2.7"].map(decimal),
  ...["0.1000000000000000055511151231257827", "0.1000000000000000055511151231257828"].map(decimal),
  ...["9007199254740993", "9223372036854775807", "9223372036854775808", "1E+6111", "1E-6176"].map(decimal),
  ...["-1E+6111", "1E+300", "1000E-3", "1E+1", "12345678901234567890123456789012.34"].map(decimal),
  // Not canonical: its coefficient would have more than 34 digits, and counts as zero.
  raw(BSON_TYPE.decimal, ...new Array<number>(14).fill(1), 0x20, 0x6c),
];

const STRINGS: readonly Sample[] = [
  ...[
    "",
    "a",
    "b",
    "ab",
    "A",
    "abc",
    "é",
    "e\u0301",
    "\u{1f600}",
    "\uff5e",
    "a\nb",
    "a\0b",
    "0",
    "1",
    ".",
  ].map(sample),
  { value: fromJs(new BSONSymbol("a")) },
  // Not UTF-8, to which regular expressions are blind.
  raw(BSON_TYPE.string, 3, 0, 0, 0, 0x61, 0xff, 0),
];

const OTHERS: readonly Sample[] = [
  sample(null),
  sample(true),
  sample(false),
  sample(new ObjectId("65a000000000000000000001")),
  sample(new ObjectId("65a000000000000000000002")),
  sample(new Date(0)),
  sample(new Date(1_700_000_000_000)),
  sample(new Date(-1)),
  sample(new Date(1_700_000_000_123)),
  sample(new Timestamp({ t: 1, i: 2 })),
  sample(new Timestamp({ t: 4_000_000_000, i: 1 })),
  sample(new Binary(Uint8Array.of(1, 2), 0)),
  sample(new Binary(Uint8Array.of(1, 3), 0)),
  sample(new Binary(Uint8Array.of(1, 2), 0x80)),
  sample(new Binary(Uint8Array.of(), 0)),
  sample(new UUID("00112233-4455-6677-8899-aabbccddeeff")),
  sample(new MinKey()),
  sample(new MaxKey()),
  { value: fromJs(new BSONRegExp("^a", "")) },
  { value: fromJs(new BSONRegExp("^a", "i")) },
  { value: fromJs(new Code("f()")) },
  { value: fromJs(new Code("f()", { a: 1 })) },
  raw(BSON_TYPE.undefined),
  raw(BSON_TYPE.dbPointer, 2, 0, 0, 0, 0x61, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
];

export const SCALARS: readonly Sample[] = [...NUMBERS, ...STRINGS, ...OTHERS];

/** Mostly values that meet each other, sometimes any. */
const scalar: fc.Arbitrary<Tree> = fc
  .oneof(
    { weight: 6, arbitrary: fc.constantFrom(...SCALARS.filter((entry) => isCommon(entry.value))) },
    { weight: 3, arbitrary: fc.constantFrom(...SCALARS) },
    { weight: 1, arbitrary: fc.constantFrom(...NUMBERS) },
  )
  .map((entry) => ({ scalar: entry }));

function isCommon(value: BsonValue): boolean {
  const common: readonly number[] = [BSON_TYPE.null, BSON_TYPE.int, BSON_TYPE.string, BSON_TYPE.bool];
  return common.includes(value.type) && value.end - value.start < 8;
}

const NAMES = ["a", "a", "a", "b", "b", "c", "0", "1"];
const name = fc.constantFrom(...NAMES);

const { tree, fields } = fc.letrec<{ tree: Tree; fields: Tree; items: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthIdentifier: "tree" },
    { weight: 5, arbitrary: scalar },
    { weight: 3, arbitrary: tie("fields") },
    { weight: 3, arbitrary: tie("items") },
  ),
  fields: fc
    .uniqueArray(fc.tuple(name, tie("tree")), {
      maxLength: 3,
      selector: ([field]) => field,
      depthIdentifier: "tree",
    })
    .map((list) => ({ fields: list })),
  items: fc.array(tie("tree"), { maxLength: 3, depthIdentifier: "tree" }).map((list) => ({ items: list })),
}));

export const valueTree: fc.Arbitrary<Tree> = tree;
export const documentTree: fc.Arbitrary<Tree> = fields;

/** Whether a filter can hold the value. */
export function isLiteral(value: Tree): boolean {
  if ("scalar" in value) return "json" in value.scalar;
  return "items" in value
    ? value.items.every(isLiteral)
    : value.fields.every(([, field]) => isLiteral(field));
}

/** As canonical Extended JSON. */
export function toJson(value: Tree): unknown {
  if ("scalar" in value) return value.scalar.json;
  if ("items" in value) return value.items.map(toJson);
  return Object.fromEntries(value.fields.map(([field, inner]) => [field, toJson(inner)]));
}

/** As a BSON document, with an `_id` where one is given. */
export function toDocument(value: Tree, id?: BsonValue): Buffer {
  const entries = "fields" in value ? value.fields : [];
  const elements = entries.map(([field, inner]) => element(field, inner));
  if (id !== undefined) elements.unshift(element("_id", { scalar: { value: id } }));
  return document(elements);
}

function document(elements: readonly Buffer[]): Buffer {
  const body = Buffer.concat([...elements, Buffer.of(0)]);
  const size = Buffer.alloc(4);
  size.writeInt32LE(body.length + 4);
  return Buffer.concat([size, body]);
}

function element(field: string, value: Tree): Buffer {
  const head = (type: number) => Buffer.from([type, ...Buffer.from(field, "utf8"), 0]);
  if ("fields" in value) return Buffer.concat([head(BSON_TYPE.object), toDocument(value)]);
  if ("items" in value) {
    const elements = value.items.map((item, i) => element(String(i), item));
    return Buffer.concat([head(BSON_TYPE.array), document(elements)]);
  }
  const { type, bytes, start, end } = value.scalar.value;
  return Buffer.concat([head(type), bytes.subarray(start, end)]);
}
