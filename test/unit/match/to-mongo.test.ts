import fc from "fast-check";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { type BsonValue, elementsOf, toBson } from "../../../src/match/bson-value.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { toMongo } from "../../../src/match/to-mongo.ts";
import { startSeed } from "../../property/seed.ts";

/** Keys that the driver's serializer, or JavaScript itself, gives a meaning to. */
const SPECIAL = [
  "_bsontype",
  "toBSON",
  "__proto__",
  "constructor",
  "toString",
  "then",
  "0",
  "10",
  "9007199254740993",
  "",
  "a",
];

/** A document as bytes, which a map can make with any key. */
const serialize = (value: unknown) => BSON.serialize(new Map([["v", value]]));
function valueIn(bytes: Uint8Array): BsonValue {
  const [value] = elementsOf(bytes);
  if (value === undefined) throw new Error("no value");
  return value;
}

test("a document with any keys comes out as the bytes that it was, in the order that it had", () => {
  const seed = startSeed("to-mongo");
  const key = fc.oneof(
    fc.constantFrom(...SPECIAL),
    fc.string({ maxLength: 5 }).filter((text) => !text.includes("\0")),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.oneof(fc.string(), fc.integer(), fc.constantFrom("ObjectId", "Long", "Binary", null, true, 1.5)),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.array(fc.tuple(key, tie("value")), { maxLength: 4 }).map((entries) => new Map(entries)),
    ),
  }));
  fc.assert(
    fc.property(value, (given) => {
      const bytes = serialize(given);
      expect(Buffer.from(serialize(toBson(valueIn(bytes)))).equals(Buffer.from(bytes))).toBe(true);
    }),
    { numRuns: 1_000, seed },
  );
});

test.each(SPECIAL.filter((key) => key !== ""))(
  "a filter on the path %s, and on a value that holds it, can be sent",
  (key) => {
    const filters = [
      `{"${key}":1}`,
      `{"${key}":"ObjectId"}`,
      `{"${key}":{"$gt":1}}`,
      `{"a":{"${key}":"ObjectId"}}`,
      `{"a":{"$in":[{"${key}":{"${key}":"Long"}}]}}`,
      `{"a":{"$elemMatch":{"${key}":1}}}`,
      `{"$or":[{"${key}":{"$not":{"$eq":1}}}]}`,
    ];
    for (const filter of filters) {
      const sent = toMongo(parseFilter(JSON.parse(filter), { regex: "prefix" }));
      // As bytes, since the driver's own reader would give a meaning to the keys again.
      expect(Buffer.from(sent).includes(`${key}\0`), filter).toBe(true);
    }
  },
);
