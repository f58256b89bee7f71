/** Random filters over the documents of bson-samples.ts, as a client would send them. */
import fc from "fast-check";
import { isLiteral, NUMBERS, toJson, valueTree } from "./bson-samples.ts";

type Json = Readonly<Record<string, unknown>>;

const PATHS = [
  "a",
  "a",
  "a",
  "b",
  "a.b",
  "a.b",
  "a.0",
  "a.1",
  "a.b.0",
  "a.0.b",
  "a.b.c",
  "a.0.1",
  "b.a",
  "a.a",
  "a.0.0",
  "a.0.0.b",
  "a.0.0.0",
];
export const path = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...PATHS) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.constantFrom("a", "b", "c", "0", "1", "00"), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join(".")),
  },
);

const literal = valueTree.filter(isLiteral).map(toJson);
const literals = fc.array(literal, { maxLength: 4 });
const number = fc.constantFrom(...NUMBERS.flatMap(({ json }) => json ?? []));

const TYPES = [
  ..."double string object array binData undefined objectId bool date null regex dbPointer javascript".split(
    " ",
  ),
  ..."symbol javascriptWithScope int timestamp long decimal minKey maxKey number".split(" "),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, -1, 127],
];
const type = fc.constantFrom(...TYPES);

const PREFIXES = ["^", "^a", "^ab", "^A", "^\\.", "^é", "^\\^", "^0", "^a\n"];
const regex = fc.oneof(
  fc.constantFrom(...PREFIXES).map(($regex): Json => ({ $regex })),
  fc.constantFrom(...PREFIXES).map((pattern): Json => ({ $regularExpression: { pattern, options: "" } })),
);

const comparison = fc
  .tuple(fc.constantFrom("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"), literal)
  .map(([operator, value]): Json => ({ [operator]: value }));

/** Some of these the server refuses, and then so must we. */
const divisor = fc.oneof(fc.constantFrom(1, 2, 3, -2, 4, 0.5, 2.9), number);

const { filter } = fc.letrec<{ filter: Json; predicate: Json; branch: Json; onPath: unknown }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 3, depthIdentifier: "filter" },
    {
      weight: 6,
      arbitrary: fc.dictionary(path, tie("onPath"), { minKeys: 1, maxKeys: 2, depthIdentifier: "filter" }),
    },
    { weight: 2, arbitrary: tie("branch") },
  ),
  branch: fc
    .tuple(
      fc.constantFrom("$and", "$or", "$nor"),
      fc.array(tie("filter"), { minLength: 1, maxLength: 3, depthIdentifier: "filter" }),
    )
    .map(([operator, branches]) => ({ [operator]: branches })),
  onPath: fc.oneof({ weight: 5, arbitrary: tie("predicate") }, { weight: 2, arbitrary: literal }),
  predicate: fc.oneof(
    { maxDepth: 3, depthIdentifier: "filter" },
    { weight: 6, arbitrary: comparison },
    { weight: 1, arbitrary: fc.tuple(comparison, comparison).map(([one, two]) => ({ ...one, ...two })) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.constantFrom("$in", "$nin", "$all"), literals)
        .map(([op, list]) => ({ [op]: list })),
    },
    { weight: 1, arbitrary: fc.oneof(fc.boolean(), literal).map(($exists) => ({ $exists })) },
    {
      weight: 1,
      arbitrary: fc.oneof(type, fc.array(type, { minLength: 1, maxLength: 3 })).map(($type) => ({ $type })),
    },
    {
      weight: 1,
      arbitrary: fc.oneof(fc.constantFrom(0, 1, 2, 3, 1.5, -1), number).map(($size) => ({ $size })),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(divisor, fc.oneof(fc.constantFrom(0, 1, -1), number)).map(($mod) => ({ $mod })),
    },
    { weight: 1, arbitrary: regex },
    { weight: 3, arbitrary: tie("predicate").map(($not) => ({ $not })) },
    {
      weight: 3,
      arbitrary: tie("predicate")
        .filter((inner) => !("$regularExpression" in inner))
        .map(($elemMatch) => ({ $elemMatch })),
    },
    { weight: 3, arbitrary: tie("filter").map(($elemMatch) => ({ $elemMatch })) },
    {
      weight: 1,
      arbitrary: fc
        .array(tie("filter"), { minLength: 1, maxLength: 2, depthIdentifier: "filter" })
        .map((list) => ({ $all: list.map(($elemMatch) => ({ $elemMatch })) })),
    },
  ),
}));

export const filterJson: fc.Arbitrary<Json> = filter;
