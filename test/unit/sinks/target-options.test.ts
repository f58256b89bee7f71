import { expect, test } from "vitest";
import { targetSchema } from "../../../src/sinks/targets/options.ts";

const SECRET = `whsec_${Buffer.alloc(24, 1).toString("base64")}`;
const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 1).toString("base64")}`;
const webhook = (change: object = {}) => ({
  webhook: { url: "https://receiver.example/hook", secret: SECRET, ...change },
});

const problemsOf = (value: unknown) =>
  targetSchema.safeParse(value).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ??
  [];

test("a webhook needs a URL and a secret, and has defaults for the rest", () => {
  expect(targetSchema.parse(webhook()).webhook).toEqual({
    url: "https://receiver.example/hook",
    secret: SECRET,
    headers: {},
    batch: 1,
    timeoutMs: 15_000,
    allowPrivate: false,
  });
});

test("a Redis needs a URL and a stream", () => {
  const redis = { url: "rediss://user:pass@127.0.0.1:6379/1", stream: "orders" };
  expect(targetSchema.parse({ redis }).redis).toEqual({
    ...redis,
    maxLength: 1_000_000,
    batch: 100,
    timeoutMs: 15_000,
  });
});

test("a sink has exactly one target", () => {
  const redis = { url: "redis://127.0.0.1:6379", stream: "orders" };
  for (const value of [{}, { ...webhook(), redis }])
    expect(problemsOf(value)).toEqual([expect.stringMatching(/^: exactly one of webhook, /)]);
});

test("unknown targets and options are mistakes", () => {
  expect(problemsOf({ smtp: {} })).not.toEqual([]);
  expect(problemsOf(webhook({ retries: 3 }))).not.toEqual([]);
});

test.each([
  [secretOf(24), true],
  [secretOf(64), true],
  [secretOf(23), false],
  [secretOf(65), false],
  [Buffer.alloc(32).toString("base64"), false],
  ["whsec_", false],
  ["whsec_not base64", false],
  [`${SECRET}=`, false],
  [[secretOf(24), secretOf(32)], true],
  [[], false],
  [[secretOf(24), secretOf(32), secretOf(33)], false],
])("the secret %j is valid: %s", (secret, isValid) => {
  expect(problemsOf(webhook({ secret })).length).toBe(isValid ? 0 : 1);
});

test.each([
  ["http://receiver.example/hook", "a URL that begins with https://"],
  ["ftp://receiver.example/hook", "a URL (https://…)"],
  ["https://user:pass@receiver.example/hook", "without user, password and fragment"],
  ["https://receiver.example/hook#part", "without user, password and fragment"],
  ["/hook", "a URL (https://…)"],
  [`https://receiver.example/${"x".repeat(2_048)}`, ""],
])("the URL %s is a mistake", (url, text) => {
  expect(problemsOf(webhook({ url })).join()).toContain(text);
  expect(problemsOf(webhook({ url })).length).toBeGreaterThan(0);
});

test("allowPrivate permits http", () => {
  expect(problemsOf(webhook({ url: "http://127.0.0.1:8080/", allowPrivate: true }))).toEqual([]);
});

test.each([
  [{ authorization: "Bearer abc" }, true],
  [{ "X-Api-Key": "abc" }, true],
  [Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`x-${n}`, "1"])), true],
  [Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`x-${n}`, "1"])), false],
  [{ Host: "inside" }, false],
  [{ "webhook-id": "1" }, false],
  [{ "Content-Type": "text/plain" }, false],
  [{ "transfer-encoding": "chunked" }, false],
  [{ "x y": "1" }, false],
  [{ x: "1\r\ny: 2" }, false],
  [{ x: "ü" }, false],
  [{ x: "" }, false],
  [{ x: "1".repeat(8_193) }, false],
])("the headers %j are valid: %s", (headers, isValid) => {
  expect(problemsOf(webhook({ headers })).length === 0).toBe(isValid);
});

test.each([
  ["batch", 1, 100],
  ["timeoutMs", 1_000, 60_000],
])("%s is from %i to %i", (option, least, most) => {
  for (const value of [least, most]) expect(problemsOf(webhook({ [option]: value }))).toEqual([]);
  for (const value of [least - 1, most + 1, least + 0.5])
    expect(problemsOf(webhook({ [option]: value })).length).toBe(1);
});
