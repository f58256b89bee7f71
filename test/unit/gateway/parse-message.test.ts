import fc from "fast-check";
import { expect, test } from "vitest";
import { MalformedMessageError } from "../../../src/gateway/connection/incoming.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { parseText } from "../../support/parse-text.ts";

const parse = (message: unknown) => parseText(JSON.stringify(message));
const refused = (message: unknown) => {
  try {
    parse(message);
  } catch (error) {
    if (error instanceof TidewireError) return error;
    throw error;
  }
  throw new Error(`taken: ${JSON.stringify(message)}`);
};

const GOOD: readonly Record<string, unknown>[] = [
  { type: "hello" },
  { type: "hello", token: "t", values: "ejson", client: "c" },
  { type: "subscribe", id: "a", collection: "c" },
  {
    type: "subscribe",
    id: "x".repeat(64),
    collection: "c",
    filter: {},
    fields: ["a", "b.c"],
    sort: [
      ["a", 1],
      ["b", -1],
    ],
    limit: 1,
    documents: "delta",
  },
  { type: "subscribe", id: "a", collection: "c", aggregate: { by: "a", values: { n: { count: true } } } },
  { type: "subscribe", id: "a", collection: "c", snapshot: false, cursor: "c", ticket: "t" },
  { type: "unsubscribe", id: "a" },
  { type: "refresh", token: "t" },
  { type: "fence", id: "a", operationTime: { $timestamp: { t: 0, i: 4_294_967_295 } } },
  { type: "ping" },
  { type: "ping", nonce: "" },
  { type: "ping", nonce: -1.5 },
];

test.each(GOOD)("takes %j as it is", (message) => {
  expect(parse(message)).toEqual(message);
});

test.each(GOOD)("refuses a field too much in %j, whatever its name", (message) => {
  for (const name of ["extra", "Type", "__proto__", "constructor", ""]) {
    const text = `${JSON.stringify(message).slice(0, -1)},${JSON.stringify(name)}:1}`;
    expect(() => parseText(text), text).toThrow(TidewireError);
  }
});

test.each(GOOD)("refuses another type in every field of %j, and says where", (message) => {
  for (const name of Object.keys(message).filter((key) => key !== "type")) {
    for (const wrong of [null, { a: 1 }, [[]], true]) {
      if (
        (name === "filter" || name === "aggregate") &&
        !Array.isArray(wrong) &&
        wrong !== null &&
        typeof wrong === "object"
      )
        continue;
      if (name === "snapshot" && wrong === true) continue;
      const error = refused({ ...message, [name]: wrong });
      const problems = error.details["problems"] as { path: string }[];
      expect(problems.some(({ path }) => path.split(".")[0] === name)).toBe(true);
    }
  }
});

test.each(["", "null", "1", '"x"', "[]", "{", "{}x", "\ufeff{}", "undefined"])("%j is no message", (text) => {
  expect(() => parseText(text)).toThrow(MalformedMessageError);
});

test.each(["toString", "__proto__", "constructor", "HELLO", "", 1, null])("%j is no type", (type) => {
  expect(refused({ type }).code).toBe("bad-request");
});

test("both sides of every limit on a field", () => {
  const subscribe = (more: object) => ({ type: "subscribe", id: "a", collection: "c", ...more });
  const enter = (levels: number) => {
    const data = JSON.parse(`${'{"a":'.repeat(levels - 1)}{}${"}".repeat(levels - 1)}`);
    return { type: "enter", id: "a", room: "r", tab: "t", data };
  };
  const limits: readonly (readonly [unknown, unknown])[] = [
    [subscribe({ id: "x".repeat(64) }), subscribe({ id: "x".repeat(65) })],
    [subscribe({ id: "x" }), subscribe({ id: "" })],
    [subscribe({ collection: "x".repeat(255) }), subscribe({ collection: "x".repeat(256) })],
    [subscribe({ fields: Array(200).fill("a") }), subscribe({ fields: Array(201).fill("a") })],
    [subscribe({ sort: Array(32).fill(["a", 1]) }), subscribe({ sort: Array(33).fill(["a", 1]) })],
    [subscribe({ sort: [["a", 1]] }), subscribe({ sort: [] })],
    [subscribe({ sort: [["a", 1]] }), subscribe({ sort: [["a", 2]] })],
    [subscribe({ sort: [["a", 1]], limit: 1 }), subscribe({ limit: 1 })],
    [subscribe({ sort: [["a", 1]], limit: 1 }), subscribe({ sort: [["a", 1]], limit: 1, snapshot: false })],
    [subscribe({ cursor: "c" }), subscribe({ ticket: "t" })],
    // A document of MongoDB has 100 levels, and this one is the first.
    [enter(99), enter(100)],
    [
      { type: "ping", nonce: "x".repeat(200) },
      { type: "ping", nonce: "x".repeat(201) },
    ],
    [
      { type: "hello", client: "x".repeat(200) },
      { type: "hello", client: "x".repeat(201) },
    ],
    [
      { type: "fence", id: "a", operationTime: { $timestamp: { t: 2 ** 32 - 1, i: 0 } } },
      { type: "fence", id: "a", operationTime: { $timestamp: { t: 2 ** 32, i: 0 } } },
    ],
  ];
  for (const [good, bad] of limits) {
    expect(() => parse(good), JSON.stringify(good).slice(0, 100)).not.toThrow();
    expect(refused(bad).code, JSON.stringify(bad).slice(0, 100)).toBe("bad-request");
  }
});

test("an error brings back a usable id, and no more than the beginning of what the client wrote", () => {
  expect(refused({ type: "unsubscribe", id: "a", x: 1 }).details["id"]).toBe("a");
  expect(refused({ type: "unsubscribe", id: 7 }).details).not.toHaveProperty("id");
  const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`${"k".repeat(10)}${n}`, n]));
  const error = refused({ type: "ping", ...many });
  expect(JSON.stringify([error.message, error.details]).length).toBeLessThan(10_000);
});

test("a value with a length that is no number is bad-request, at every place of a message", () => {
  const length = { toString: 1, valueOf: 1 };
  const samples = [
    { type: "unsubscribe", id: { length } },
    { type: "subscribe", id: "a", collection: { length } },
    { type: "subscribe", id: "a", collection: "c", fields: { length } },
    { type: "subscribe", id: "a", collection: "c", sort: [[{ length }, 1]] },
    { type: "enter", id: "a", room: { length }, tab: "t" },
    { type: "hello", token: { length } },
  ];
  for (const sample of samples) expect(refused(sample).code, JSON.stringify(sample)).toBe("bad-request");
});

test("whatever comes, it is a message, or bad-request, or no message at all", () => {
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.json().map((json) => `{"type":"subscribe","id":"a","collection":${json}}`),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseText(text);
      } catch (error) {
        if (error instanceof MalformedMessageError) return;
        expect(error).toBeInstanceOf(TidewireError);
        expect((error as TidewireError).code).toBe("bad-request");
      }
    }),
    { numRuns: 2_000 },
  );
});
