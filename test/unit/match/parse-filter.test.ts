import { expect, test } from "vitest";
import { filterCost } from "../../../src/match/filter-cost.ts";
import { type FilterOptions, parseFilter, parseFilterTemplate } from "../../../src/match/parse-filter.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { plainFilter } from "../../support/plain-filter.ts";

const parse = (input: unknown, options: Partial<FilterOptions> = {}) =>
  parseFilter(input, { regex: "prefix", ...options });

function refusal(input: unknown, options: Partial<FilterOptions> = {}): TidewireError {
  try {
    parse(input, options);
  } catch (error) {
    if (error instanceof TidewireError && error.code === "bad-filter") return error;
    throw error;
  }
  throw new Error(`taken: ${JSON.stringify(input)}`);
}

test.each([
  [{ $where: "true" }, "$where"],
  [{ $expr: {} }, "$expr"],
  [{ $text: {} }, "$text"],
  [{ $jsonSchema: {} }, "$jsonSchema"],
  [{ $comment: "x" }, "$comment"],
  [{ a: { $near: [1, 2] } }, "$near"],
  [{ a: { $bitsAllSet: 1 } }, "$bitsAllSet"],
  [{ a: { $function: {} } }, "$function"],
  [{ a: { $gt: 1, $where: "x" } }, "$where"],
  [{ a: { $not: { $and: [] } } }, "$and"],
  [{ a: { $elemMatch: { $gt: 1, $or: [{}] } } }, "$or"],
  [{ a: { $options: "i" } }, "$options"],
  [{ a: { $undefined: true } }, "$undefined"],
  [{ a: { $code: "x" } }, "$code"],
])("[4] refuses %j and names the operator", (filter, operator) => {
  const error = refusal(filter);
  expect(error.message).toContain(operator);
  expect(error.details).toMatchObject({ operator });
});

test("reports the location, the path and the operator of a refused part", () => {
  const error = refusal({ $and: [{ b: 1 }, { "a.b": { $gt: 1, $size: "x" } }] });
  expect(error.details).toEqual({ at: "$and.1.a.b.$size", path: "a.b", operator: "$size" });
  expect(error.message).toBe("$size needs a number (at $and.1.a.b.$size)");
});

test("quotes only the beginning of a long name in an error", () => {
  const long = "x".repeat(60_000);
  for (const filter of [
    { [`${long}.$y`]: 1 },
    { a: { [`$${long}`]: 1 } },
    { [`$${long}`]: 1 },
    { a: { b: { [`$${long}`]: 1 } } },
  ]) {
    const error = refusal(filter);
    expect(error.message.length + JSON.stringify(error.details).length).toBeLessThan(1_000);
  }
});

test.each<[string, unknown]>([
  ["a filter that is no object", [1]],
  ["null", null],
  ["text", "x"],
  ["an instance of a class", new Date()],
  ["$and of nothing", { $and: [] }],
  ["$and of an object", { $and: { a: 1 } }],
  ["an array-like object", { $or: { length: 1, 0: { a: 1 } } }],
  ["$or of scalars", { $or: [1] }],
  ["$in of a scalar", { a: { $in: 1 } }],
  ["$all of an object", { a: { $all: { 0: 1, length: 1 } } }],
  ["an operator inside a value", { a: { b: { $gt: 1 } } }],
  ["an operator in $in", { a: { $in: [{ $gt: 1 }] } }],
  ["an operator after a field", { a: { x: 1, $gt: 1 } }],
  ["a field after an operator", { a: { $gt: 1, x: 1 } }],
  ["$elemMatch in $all beside values", { a: { $all: [1, { $elemMatch: {} }] } }],
  ["values in $all beside $elemMatch", { a: { $all: [{ $elemMatch: {} }, 1] } }],
  ["$elemMatch of an array", { a: { $elemMatch: [] } }],
  ["$elemMatch of an ObjectId", { a: { $elemMatch: { $oid: "65a000000000000000000001" } } }],
  ["$not of a value", { a: { $not: 1 } }],
  ["$not of nothing", { a: { $not: {} } }],
  ["$not of an ObjectId", { a: { $not: { $oid: "65a000000000000000000001" } } }],
  ["$size below 0", { a: { $size: -1 } }],
  ["$size of a fraction", { a: { $size: 1.5 } }],
  ["$mod by 0", { a: { $mod: [0, 1] } }],
  ["$mod by a fraction that is cut to 0", { a: { $mod: [0.9, 1] } }],
  ["$mod of three", { a: { $mod: [2, 1, 0] } }],
  ["$mod by NaN", { a: { $mod: [{ $numberDouble: "NaN" }, 0] } }],
  ["$type 0", { a: { $type: 0 } }],
  ["$type of nothing", { a: { $type: [] } }],
  ["an unknown $type", { a: { $type: "float" } }],
  ["$type missing", { a: { $type: "missing" } }],
  ["an empty path", { "": 1 }],
  ["an empty part", { "a..b": 1 }],
  ["a part that starts with $", { "a.$b": 1 }],
  ["the positional operator", { "a.$": 1 }],
  ["a path with a NUL", { "a\0b": 1 }],
  ["a path of 101 parts", { [Array(101).fill("a").join(".")]: 1 }],
  ["a lone surrogate in a path", { "a\ud800": 1 }],
  ["a lone surrogate in a value", { a: "\udc00" }],
  ["a lone surrogate in a name", { a: { "b\ud800": 1 } }],
  ["undefined", { a: undefined }],
  ["a bigint", { a: 1n }],
  ["a function", { a: () => 1 }],
  ["a RegExp", { a: /^a/ }],
  ["a wrapper with another key", { a: { $oid: "65a000000000000000000001", x: 1 } }],
  ["a bad ObjectId", { a: { $oid: "65" } }],
  ["a bad date", { a: { $date: "yesterday" } }],
  ["a date without a time zone", { a: { $date: "2020-01-01T00:00:00" } }],
  ["a long out of range", { a: { $numberLong: "9223372036854775808" } }],
  ["an int out of range", { a: { $numberInt: "2147483648" } }],
  ["a decimal that must be rounded", { a: { $numberDecimal: "1.00000000000000000000000000000000001" } }],
  ["bad base64", { a: { $binary: { base64: "*", subType: "00" } } }],
])("refuses %s", (_name, filter) => {
  expect(refusal(filter).details).toHaveProperty("at");
});

test.each([
  [{ a: { $regex: "a" } }],
  [{ a: { $regex: "^a.*" } }],
  [{ a: { $regex: "^a$" } }],
  [{ a: { $regex: "^a|b" } }],
  [{ a: { $regex: "^a", $options: "i" } }],
  [{ a: { $regex: "^\\d" } }],
  [{ a: { $regularExpression: { pattern: "^a", options: "m" } } }],
  [{ a: { $regularExpression: { pattern: "a", options: "" } } }],
  [{ a: { $not: { $regex: "a" } } }],
  [{ a: { $regex: { $regularExpression: { pattern: "^a", options: "" } }, $options: "i" } }],
  [{ a: { $in: [{ $regularExpression: { pattern: "^a", options: "" } }] } }],
  [{ a: { $nin: [{ $regularExpression: { pattern: "^a", options: "" } }] } }],
  [{ a: { $all: [{ $regex: "^a" }] } }],
  [{ a: { $eq: { $regularExpression: { pattern: "^a", options: "" } } } }],
  [{ a: { b: { $regularExpression: { pattern: "^a", options: "" } } } }],
])(
  "[8, filter size] refuses %j, because a regular expression of a client must be a prefix on its own",
  (filter) => {
    refusal(filter);
  },
);

test("accepts a prefix expression in every spelling of a regular expression", () => {
  const wrapped = { $regularExpression: { pattern: "^a\\.b", options: "" } };
  const filters = [{ $regex: "^a\\.b" }, { $options: "", $regex: "^a\\.b" }, wrapped, { $regex: wrapped }];
  const expected = { op: "path", path: "a", predicate: { op: "$regex", pattern: "^a\\.b", options: "" } };
  for (const a of filters) expect(parse({ a })).toEqual(expected);
});

const nested = (levels: number): unknown => (levels === 0 ? { a: 1 } : { $and: [nested(levels - 1)] });

test("takes 5 levels and refuses a sixth, whichever operator makes it", () => {
  expect(filterCost(parse(nested(5))).depth).toBe(5);
  expect(refusal(nested(6)).message).toContain("5 levels");
  const four = (inner: unknown) => ({ $or: [{ $nor: [{ a: { $elemMatch: { $not: inner } } }] }] });
  expect(filterCost(parse(four({ $not: { $gt: 1 } }))).depth).toBe(5);
  refusal(four({ $not: { $not: { $gt: 1 } } }));
});

test("takes 50 predicates and refuses 51; an empty branch counts as one", () => {
  const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, 1]));
  expect(filterCost(parse(fields(50)))).toEqual({ depth: 0, predicates: 50, values: 50 });
  expect(refusal(fields(51)).message).toContain("too many predicates");
  refusal({ $or: Array(51).fill({}) });
  refusal({ $or: Array.from({ length: 26 }, () => ({ a: { $gt: 1, $lt: 2 } })) });
});

test("takes 1,000 values and refuses 1,001, however they are nested", () => {
  expect(filterCost(parse({ a: { $in: Array(1_000).fill(1) } })).values).toBe(1_000);
  expect(refusal({ a: { $in: Array(1_001).fill(1) } }).message).toContain("too many values");
  refusal({ a: { $in: [Array(500).fill([1, { b: 2 }]), 3] } });
  refusal({ a: { $in: Array(1_001).fill([]) } });
  refusal({ a: { $type: Array(1_001).fill(1) } });
});

test.each([
  ["arrays", (levels: number) => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`],
  ["objects", (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`],
  ["$and", (levels: number) => `${'{"$and":['.repeat(levels)}${"]}".repeat(levels)}`],
  ["$not", (levels: number) => `{"a":${'{"$not":'.repeat(levels)}1${"}".repeat(levels)}}`],
  ["$elemMatch", (levels: number) => `{"a":${'{"$elemMatch":'.repeat(levels)}1${"}".repeat(levels)}}`],
])("refuses 64 KiB of nested %s without exhausting the stack", (_name, text) => {
  const one = text(1_000).length / 1_000;
  refusal(JSON.parse(text(Math.min(5_000, Math.floor(65_536 / one)))), { maxDepth: 1_000 });
});

test("reads a value in Extended JSON as the same value in plain JSON", () => {
  const values = [
    ["2020-01-01T00:00:00Z", { $date: "2020-01-01T00:00:00Z" }, "date"],
    ["ms", { $date: { $numberLong: "-1" } }, "date"],
    ["ms", { $date: 0 }, "date"],
    ["uuid", { $uuid: "00112233-4455-6677-8899-aabbccddeeff" }, "binData"],
    ["ts", { $timestamp: { t: 1, i: 4_294_967_295 } }, "timestamp"],
    ["long", 2 ** 40, "long"],
    ["int", 5, "int"],
    ["double", 1.5, "double"],
    ["decimal", { $numberDecimal: "1.10" }, "decimal"],
    ["min", { $minKey: 1 }, "minKey"],
  ] as const;
  for (const [, a] of values) expect(parse({ a })).toMatchObject({ predicate: { op: "$eq" } });
  const filter = plainFilter(parse({ a: { $in: values.map(([, value]) => value) } }));
  expect(JSON.stringify(filter)).toContain('"$in"');
});

test("maps each key of a filter to its path", () => {
  const path = (key: string) => key.replace("%%", "");
  expect(parse({ "%%user.roles": "x" }, { path })).toMatchObject({ path: "user.roles" });
});

test("a string that is a claim becomes a placeholder as a whole operand, and nowhere else", () => {
  const placeholder = (text: string) => (text.startsWith("%%") ? { placeholder: text } : undefined);
  const template = (input: unknown) => parseFilterTemplate(input, { regex: "subset", placeholder });
  const one = { placeholder: "%%user.sub" };
  expect(template({ a: "%%user.sub" })).toMatchObject({ predicate: { op: "$eq", value: one } });
  expect(template({ a: { $gt: "%%user.sub" } })).toMatchObject({ predicate: { op: "$gt", value: one } });
  expect(template({ a: { $in: "%%user.sub" } })).toMatchObject({ predicate: { op: "$in", values: one } });
  expect(template({ a: { $in: ["%%user.sub"] } })).toMatchObject({ predicate: { values: [one] } });
  for (const a of [
    { b: "%%user.sub" },
    ["%%user.sub"],
    { $regex: "%%user.sub" },
    { $type: "%%user.sub" },
    { $size: "%%user.sub" },
    { $exists: "%%user.sub" },
  ]) {
    expect(() => template({ a })).toThrow(expect.objectContaining({ code: "bad-filter" }));
  }
});

test("removes duplicates from a list of types", () => {
  const types = Array.from({ length: 300 }, () => ["number", "int", 2, "string"]).flat();
  const filter = parseFilter({ a: { $type: types } }, { regex: "prefix", maxValues: 2_000 });
  expect(filter).toEqual({ op: "path", path: "a", predicate: { op: "$type", types: [1, 16, 18, 19, 2] } });
});
