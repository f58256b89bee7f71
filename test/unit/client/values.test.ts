/** The order of values in the client, against the order of the service, which is that of MongoDB. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compareDocs, compareValues } from "../../../src/client/values.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import { compileSort } from "../../../src/match/sort.ts";
import type { SortSpec, ValueMode } from "../../../src/protocol/messages.ts";

const { Binary, Decimal128, Double, Long, ObjectId, UUID } = BSON;

/** Values of which the order is defined, ties included. */
const VALUES: readonly unknown[] = [
  undefined,
  null,
  new Double(Number.NaN),
  Number.NEGATIVE_INFINITY,
  -1,
  0,
  1.5,
  2,
  Long.fromString("9007199254740993"),
  Long.fromString("9007199254740995"),
  Decimal128.fromString("2.5"),
  "",
  "A",
  "a",
  "ab",
  "é",
  "\u{ffee}",
  "\u{1f600}",
  { x: 1 },
  new ObjectId("65a5b1c2d3e4f5a6b7c8d901"),
  new ObjectId("65a5b1c2d3e4f5a6b7c8d902"),
  false,
  true,
  new Date(0),
  new Date("2026-05-04T12:00:00.000Z"),
  [1, 5],
  ["b", 2],
];

const docsOf = (mode: ValueMode, values = VALUES) =>
  values.map((a, _id) => {
    const bytes = BSON.serialize(a === undefined ? { _id } : { _id, a });
    return { bytes, doc: JSON.parse(encodeDocument(bytes, EVERYTHING, mode)) as { _id: number } };
  });

const order = (docs: ReturnType<typeof docsOf>, compare: (a: number, b: number) => number) =>
  docs
    .map((_, at) => at)
    .sort(compare)
    .join();

test.each<[1 | -1]>([[1], [-1]])(
  "documents in Extended JSON sort as in MongoDB, in direction %i",
  (direction) => {
    const spec: SortSpec = [["a", direction]];
    const sort = compileSort(spec);
    const docs = docsOf("ejson");
    const keys = docs.map(({ bytes }) => sort.key(bytes));
    const ours = order(docs, (a, b) => compareDocs(docs[a]?.doc ?? {}, docs[b]?.doc ?? {}, spec));
    expect(ours).toBe(order(docs, (a, b) => sort.compare(keys[a] ?? [], keys[b] ?? [])));
  },
);

test.each([
  ["numbers", [3, -1, 2.5, null, undefined]],
  ["text", ["b", "", "\u{1f600}", "\u{ffee}", "é"]],
  ["dates", [new Date(5), new Date(0), new Date("2026-05-04T12:00:00.000Z")]],
  ["ObjectIds", [new ObjectId("65a5b1c2d3e4f5a6b7c8d902"), new ObjectId("65a5b1c2d3e4f5a6b7c8d901"), null]],
  [
    "UUIDs",
    [new UUID("a5b1c2d3-e4f5-46b7-88d9-02aabbccddee"), new UUID("05b1c2d3-e4f5-46b7-88d9-02aabbccddee")],
  ],
])("documents in plain JSON sort as in MongoDB by a path that holds %s", (_name, values) => {
  const spec: SortSpec = [["a", 1]];
  const sort = compileSort(spec);
  const docs = docsOf("json", values);
  const keys = docs.map(({ bytes }) => sort.key(bytes));
  const ours = order(docs, (a, b) => compareDocs(docs[a]?.doc ?? {}, docs[b]?.doc ?? {}, spec));
  expect(ours).toBe(order(docs, (a, b) => sort.compare(keys[a] ?? [], keys[b] ?? [])));
});

test("long integers are compared with all their digits, and binary data by its text", () => {
  expect(
    compareValues({ $numberLong: "9007199254740993" }, { $numberLong: "9007199254740992" }),
  ).toBeGreaterThan(0);
  const { $binary } = BSON.EJSON.serialize({ a: new Binary(Buffer.from("a")) })["a"] as { $binary: unknown };
  expect(compareValues({ $binary }, { $binary })).toBe(0);
});
