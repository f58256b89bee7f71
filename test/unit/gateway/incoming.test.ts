import fc from "fast-check";
import { expect, test } from "vitest";
import {
  checkShape,
  type Incoming,
  MalformedMessageError,
  readMessage,
} from "../../../src/gateway/connection/incoming.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { FUZZ_FACTOR, startSeed } from "../../property/seed.ts";

const LIMITS = GatewayLimits.parse({ messageDepth: 16, messageNodes: 1_000 });
const read = (text: string) => readMessage(text, Buffer.byteLength(text), LIMITS);

/** `{"id":"a","x":[[…]]}`, of this depth. */
const nested = (depth: number) => `{"id":"a","x":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
/** `{"id":"a","x":[1,1,…]}` with this many values. */
const wide = (nodes: number) =>
  `{"id":"a","x":[${Array(nodes - 3)
    .fill(1)
    .join()}]}`;

/** The outcome, for each way of reading the message. */
function outcome(incoming: Incoming): string {
  if (!("unread" in incoming)) return "taken";
  const { error, unread } = incoming;
  if (error instanceof MalformedMessageError) return unread;
  expect(error).toBeInstanceOf(TidewireError);
  expect((error as TidewireError).code).toBe("bad-request");
  return unread;
}

test.each([
  [nested(16), nested(17), "depth", "messageDepth", 16],
  [wide(1_000), wide(1_001), "nodes", "messageNodes", 1_000],
])(
  "both sides of a limit, as text and as an object, with the id in the answer",
  (good, bad, reason, limit, value) => {
    for (const way of [read, (text: string) => checkShape(JSON.parse(text), LIMITS)]) {
      expect(outcome(way(good))).toBe("taken");
      const refused = way(bad);
      expect(outcome(refused)).toBe(reason);
      const details =
        "error" in refused && refused.error instanceof TidewireError ? refused.error.details : {};
      expect(details).toMatchObject({ id: "a", limit, value });
    }
  },
);

test.each([
  '{"a":"[[[[[[[[[[[[[[[[[[[[[[[[["}',
  '{"a":"\\"[[[[[[[[[[[[[[[[[[[[[[[[["}',
  '{"a\\\\":"{{{{{{{{{{{{{{{{{{{{{{{","b":1}',
  `{"a":"${",".repeat(2_000)}"}`,
])("brackets and commas inside a text are no values: %s", (text) => {
  expect(outcome(read(text))).toBe("taken");
});

test.each([
  "[".repeat(30_000),
  '{"a":'.repeat(5_000),
  `${"[".repeat(40)}${"]".repeat(40)}`,
  `[${nested(17)}]`,
])("what is no object at all is malformed, however deep", (text) => {
  expect(outcome(read(text))).toBe("malformed");
});

test.each([
  [`{"x":${nested(40)},"id":"mine"}`, "mine"],
  [`{"id":"first","x":${nested(40)} , "id" : "last"}`, "last"],
  [`{"x":{"id":"inner"},"y":${nested(40)}}`, undefined],
  [`{"id":7,"y":${nested(40)}}`, undefined],
  [`{"id":"","y":${nested(40)}}`, undefined],
  [`{"id":"${"x".repeat(65)}","y":${nested(40)}}`, undefined],
  [`{"a":"id","b":"id","y":${nested(40)}}`, undefined],
])("the answer to a message that was not parsed bears the id that it had: %#", (text, id) => {
  const refused = read(text);
  expect("error" in refused && refused.error instanceof TidewireError && refused.error.details["id"]).toBe(
    id,
  );
});

test("a text and the object made of it are judged alike", () => {
  const seed = startSeed("incoming");
  const values = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 20, depthSize: "max" },
      { weight: 1, arbitrary: fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.constant(null)) },
      { weight: 2, arbitrary: fc.array(tie("value"), { maxLength: 2 }) },
      { weight: 2, arbitrary: fc.dictionary(fc.string({ unit: "binary" }), tie("value"), { maxKeys: 2 }) },
    ),
  })).value;
  const limits = GatewayLimits.parse({ messageDepth: 16, messageNodes: 1_000 });
  fc.assert(
    fc.property(values, fc.constantFrom(0, 1, 2), (value, indent) => {
      const message = { id: "a", value };
      const text = JSON.stringify(message, null, indent);
      expect(outcome(readMessage(text, text.length, limits))).toBe(outcome(checkShape(message, limits)));
    }),
    { numRuns: 400 * FUZZ_FACTOR, seed },
  );
});

test("any text whatever is read without an error of the service's own", () => {
  const seed = startSeed("incoming, texts");
  const pieces = fc.array(
    fc.constantFrom("{", "}", "[", "]", '"', "\\", ":", ",", '"id"', "1", " ", "é", "\ud800"),
  );
  fc.assert(
    fc.property(pieces, (list) => void outcome(read(list.join("")))),
    { numRuns: 5_000, seed },
  );
});
