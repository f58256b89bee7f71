/** Messages as no client should send them: right in structure, and wrong in one place or several. */
import fc from "fast-check";

export interface Sample {
  readonly text: string;
  /** Whether it is one JSON object, so that the connection lives on. */
  readonly isMessage: boolean;
}

const SPECIAL_KEYS = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "then",
  "toJSON",
  "_bsontype",
  "length",
  "$where",
  "$expr",
  "$function",
  "$comment",
  "$regex",
  "$options",
  "$elemMatch",
  "$in",
  "$not",
  "$oid",
  "$date",
  "$numberDecimal",
  "$timestamp",
  "$binary",
  "$ref",
  "$id",
  "",
  ".",
  "a.",
  ".a",
  "a..b",
  "$",
  "a.$.b",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "\udfff.x",
  "\u202e",
  "0",
  "-1",
  "9007199254740993",
];

const key = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...SPECIAL_KEYS) },
  { weight: 2, arbitrary: fc.constantFrom("owner", "n", "a.b", "tags.0", "secret", "$and", "$or", "$nor") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 10 }) },
);

/** Numbers by their text, since JSON can write what JavaScript cannot hold. */
const HUGE = [
  "1e400",
  "-1e400",
  "1e-400",
  "123456789012345678901234567890",
  "-0",
  "0.1e1",
  "9007199254740993",
];

class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** An object by its entries, so that it can hold any key, also twice. */
class Entries {
  readonly entries: readonly (readonly [string, unknown])[];
  private constructor(entries: readonly (readonly [string, unknown])[]) {
    this.entries = entries;
  }
  static of(entries: readonly (readonly [string, unknown])[]): Entries {
    return new Entries(entries);
  }
}

const scalar: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, 1, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e300),
  fc.constantFrom(...HUGE).map((text) => new Raw(text)),
  fc.constantFrom("", "\ud800", "\udc00\ud800", "\u0000", "%%user.sub", "^a", "(a+)+$", "x".repeat(300)),
  fc.string({ unit: "binary", maxLength: 20 }),
);

const { value } = fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthIdentifier: "value" },
    { weight: 4, arbitrary: scalar },
    { weight: 1, arbitrary: fc.array(tie("value"), { maxLength: 4, depthIdentifier: "value" }) },
    { weight: 2, arbitrary: tie("object") },
  ),
  object: fc.array(fc.tuple(key, tie("value")), { maxLength: 3, depthIdentifier: "value" }).map(Entries.of),
}));

function write(it: unknown): string {
  if (it instanceof Raw) return it.text;
  if (it instanceof Entries) {
    return `{${it.entries.map(([name, inner]) => `${JSON.stringify(name)}:${write(inner)}`).join(",")}}`;
  }
  if (Array.isArray(it)) return `[${it.map(write).join(",")}]`;
  return JSON.stringify(it) ?? "null";
}

/** Nested far beyond what any stack takes, in a message that is not too large. */
const ABYSS_BYTES = 40_000;
const abyss = fc
  .tuple(
    fc.constantFrom("[", '{"a":', '{"$and":[', '{"a":{"$not":', '{"a":{"$elemMatch":'),
    fc.integer({ min: 1, max: 100 }),
  )
  .map(([open, percent]) => {
    const closers: Readonly<Record<string, string>> = { "[": "]", "{": "}" };
    const close = [...open]
      .reverse()
      .map((char) => closers[char] ?? "")
      .join("");
    const depth = Math.ceil((ABYSS_BYTES * percent) / 100 / (open.length + close.length));
    return new Raw(`${open.repeat(depth)}1${close.repeat(depth)}`);
  });

const filter = fc.oneof(
  { weight: 5, arbitrary: value },
  { weight: 1, arbitrary: abyss },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 1, max: 3_000 })
      .map((n) => Entries.of([["n", Entries.of([["$in", Array(n).fill(1)]])]])),
  },
);

/** Valid values of each field; `ID` becomes an unused id. */
const FIELDS: Readonly<Record<string, Readonly<Record<string, fc.Arbitrary<unknown>>>>> = {
  hello: { token: fc.constant("x.y.z"), values: fc.constant("ejson"), client: fc.constant("c") },
  subscribe: {
    id: fc.constant("ID"),
    collection: fc.constantFrom(
      "notes",
      "notes",
      "notes",
      "staff",
      "nosuch",
      "__proto__",
      "constructor",
      "x".repeat(255),
    ),
    filter,
    fields: fc.array(key, { maxLength: 3 }),
    sort: fc.array(fc.tuple(key, fc.constantFrom<unknown>(1, -1, 0, "1")), { maxLength: 2 }),
    limit: fc.constantFrom<unknown>(1, 0, 1_000, 1_001, 1.5, -1),
    snapshot: fc.boolean(),
    cursor: fc.string({ maxLength: 60 }),
    ticket: fc.string({ maxLength: 200 }),
    documents: fc.constantFrom("full", "delta", "half"),
  },
  unsubscribe: { id: fc.constant("ID") },
  refresh: { token: fc.constantFrom("x.y.z", "", "eyJhbGciOiJub25lIn0.e30.") },
  fence: {
    id: fc.constant("ID"),
    operationTime: fc.constant(
      Entries.of([
        [
          "$timestamp",
          Entries.of([
            ["t", 1],
            ["i", 1],
          ]),
        ],
      ]),
    ),
  },
  ping: { nonce: fc.oneof(fc.string({ unit: "binary", maxLength: 210 }), scalar) },
};
const REQUIRED = new Set([
  "subscribe.id",
  "subscribe.collection",
  "unsubscribe.id",
  "refresh.token",
  "fence.id",
  "fence.operationTime",
]);
const TYPES = Object.keys(FIELDS);

const message: fc.Arbitrary<Sample> = fc
  .constantFrom(...TYPES, "subscribe", "subscribe", "subscribe")
  .chain((type) => {
    const fields = Object.entries(FIELDS[type] ?? {}).map(([name, good]) =>
      fc
        .tuple(fc.integer({ min: 0, max: 59 }), good, value)
        .map(([luck, right, wrong]): readonly (readonly [string, unknown])[] => {
          if (luck === 0) return []; // left out, required or not
          if (luck === 1) return [[name, wrong]];
          return REQUIRED.has(`${type}.${name}`) || luck < 15 ? [[name, right]] : [];
        }),
    );
    const extra = fc.oneof(
      { weight: 6, arbitrary: fc.constant<readonly (readonly [string, unknown])[]>([]) },
      { weight: 1, arbitrary: fc.tuple(key, value).map((entry) => [entry]) },
    );
    const typeField = fc.oneof(
      { weight: 20, arbitrary: fc.constant<readonly (readonly [string, unknown])[]>([["type", type]]) },
      { weight: 1, arbitrary: value.map((wrong) => [["type", wrong]] as const) },
    );
    return fc
      .tuple(typeField, ...fields, extra)
      .map((parts): Sample => ({ text: write(Entries.of(parts.flat())), isMessage: true }));
  });

const malformed: fc.Arbitrary<Sample> = fc
  .oneof(
    fc.constantFrom(
      "",
      " ",
      "null",
      "1",
      '"x"',
      "[]",
      "[{}]",
      "{",
      "}",
      "{}{}",
      '{"type":"ping"',
      "\ufeff{}",
      "NaN",
      "undefined",
    ),
    fc.string({ unit: "binary", maxLength: 50 }).filter((text) => !isObject(text)),
    fc.integer({ min: 1, max: 30_000 }).map((n) => "[".repeat(n)),
    fc.integer({ min: 1, max: 5_000 }).map((n) => '{"a":'.repeat(n)),
  )
  .map((text) => ({ text, isMessage: false }));

function isObject(text: string): boolean {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
  } catch {
    return false;
  }
}

/** Nearly always messages; what ends the connection costs a new one. */
export const anySample = fc.oneof({ weight: 100, arbitrary: message }, { weight: 1, arbitrary: malformed });
export const firstSample = fc.oneof(message, malformed);
