/** The encoder against `EJSON.stringify`, deltas against the documents they lead to, sorts against the server. */
import fc from "fast-check";
import { BSON, type Document } from "mongodb";
import { expect, test } from "vitest";
import { BSON_TYPE, fromJs } from "../../src/match/bson-value.ts";
import { diffProjected } from "../../src/match/delta.ts";
import { encodeDocument } from "../../src/match/encode.ts";
import { EVERYTHING, excludeProjection, includeProjection } from "../../src/match/projection.ts";
import { documentTree, type Tree, toDocument } from "./bson-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const { EJSON } = BSON;
const seed = startSeed("encode");
const numRuns = 3_000 * FUZZ_FACTOR;

/** Types that EJSON.stringify writes differently: it loses the type or does not support it. */
const UNCOMMON: readonly number[] = [BSON_TYPE.undefined, BSON_TYPE.dbPointer];

function isCommon(tree: Tree): boolean {
  if ("scalar" in tree) return !UNCOMMON.includes(tree.scalar.value.type);
  return "items" in tree ? tree.items.every(isCommon) : tree.fields.every(([, field]) => isCommon(field));
}

/** Relaxed Extended JSON, with what is not exact in it replaced by what canonical Extended JSON has. */
function exactly(value: unknown): unknown {
  // A Timestamp is a Long to JavaScript.
  if (value instanceof BSON.Long && !(value instanceof BSON.Timestamp)) {
    const isSafe =
      Number.isSafeInteger(value.toNumber()) && BSON.Long.fromNumber(value.toNumber()).equals(value);
    return isSafe ? value.toNumber() : { $numberLong: value.toString() };
  }
  if (value instanceof BSON.Int32) return value.value;
  if (value instanceof BSON.Double && Object.is(value.value, -0)) return { $numberDouble: "-0.0" };
  if (Array.isArray(value)) return value.map(exactly);
  if (isDocument(value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, exactly(v)]));
  if (value instanceof BSON.Code && value.scope !== null)
    return { $code: value.code, $scope: exactly(value.scope) };
  return JSON.parse(EJSON.stringify({ value }, { relaxed: true })).value;
}

function isDocument(value: unknown): value is Document {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

test("[2, values] ejson is relaxed Extended JSON, canonical where that is not exact", () => {
  const property = fc.property(documentTree.filter(isCommon), (tree) => {
    const document = toDocument(tree);
    const decoded = BSON.deserialize(document, {
      promoteValues: false,
      bsonRegExp: true,
      validation: { utf8: false },
    });
    expect(JSON.parse(encodeDocument(document, EVERYTHING, "ejson"))).toEqual(exactly(decoded));
  });
  fc.assert(property, { numRuns, seed });
});

test("[2, values] json text is valid for every document, whatever its bytes", () => {
  const property = fc.property(
    documentTree,
    fc.uint8Array({ maxLength: 12 }),
    fc.constantFrom("json", "ejson"),
    (tree, garbage, mode) => {
      // Strings and names of random bytes, which mostly are not UTF-8.
      const text = { type: BSON_TYPE.string, ...rawString(garbage) };
      const fields = "fields" in tree ? tree.fields : [];
      const document = toDocument({ fields: [...fields, ["text", { scalar: { value: text } }]] });
      const parsed = JSON.parse(encodeDocument(document, EVERYTHING, mode));
      expect(parsed.text).toBe(Buffer.from(garbage).toString("utf8"));
    },
  );
  fc.assert(property, { numRuns, seed });
});

function rawString(content: Uint8Array): { bytes: Uint8Array; start: number; end: number } {
  const bytes = Buffer.concat([Buffer.alloc(4), content, Buffer.of(0)]);
  bytes.writeInt32LE(content.length + 1);
  return { bytes, start: 0, end: bytes.length };
}

const projection = fc.constantFrom(
  EVERYTHING,
  includeProjection(["a"]),
  includeProjection(["a.b", "b"]),
  excludeProjection(["a.b"]),
  excludeProjection(["b.a", "c"]),
);

test("[8, delta] applied to the visible document before it makes the one after, field by field in its order", () => {
  let told = 0;
  const property = fc.property(
    documentTree,
    documentTree,
    projection,
    fc.constantFrom("json", "ejson"),
    (one, other, shown, mode) => {
      const [before, after] = [toDocument(one, fromJs(1)), toDocument(other, fromJs(1))];
      const delta = diffProjected(shown, before, after, mode);
      if (delta === undefined) return;
      told++;
      const document = JSON.parse(encodeDocument(before, shown, mode));
      for (const path of delta.unset) remove(document, path.split("."));
      for (const [path, json] of delta.set) assign(document, path.split("."), JSON.parse(json));
      // As text, so that the order of the fields counts.
      expect(JSON.stringify(document)).toBe(JSON.stringify(JSON.parse(encodeDocument(after, shown, mode))));
    },
  );
  fc.assert(property, { numRuns, seed });
  expect(told, "pairs with a possible delta").toBeGreaterThan(numRuns / 10);
});

function parentOf(document: Record<string, unknown>, path: readonly string[]): Record<string, unknown> {
  let node = document;
  for (const part of path.slice(0, -1)) {
    const next = node[part];
    // A delta that leads anywhere but through plain objects is what this test must find.
    if (!isDocument(next)) throw new Error(`no object at ${path.join(".")}`);
    node = next;
  }
  return node;
}

function assign(document: Record<string, unknown>, path: readonly string[], value: unknown): void {
  parentOf(document, path)[path.at(-1) ?? ""] = value;
}

function remove(document: Record<string, unknown>, path: readonly string[]): void {
  expect(delete parentOf(document, path)[path.at(-1) ?? ""]).toBe(true);
}
