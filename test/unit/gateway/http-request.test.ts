import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { bearerOf, parseUrlRequest } from "../../../src/gateway/http/http-request.ts";
import { DEFAULT_LIMITS } from "../../support/parse-text.ts";

const problems = (...paths: string[]) =>
  expect.objectContaining({
    code: "bad-request",
    details: { problems: paths.map((path) => ({ path, reason: expect.any(String) })) },
  });

test("a URL is equivalent to the message with the same request over a WebSocket", () => {
  const parameters = new URLSearchParams({
    collection: "orders",
    filter: '{"n":{"$gt":1},"__proto__":{"x":1}}',
    fields: "a,b.c",
    sort: '[["at",-1]]',
    limit: "20",
    snapshot: "true",
    aggregate: '{"by":"status"}',
    values: "ejson",
    cursor: "c",
    ticket: "t",
  });
  const { subscribe, ...rest } = parseUrlRequest(`/v1/poll?${parameters}&wait=0.25`, "poll", DEFAULT_LIMITS);
  expect(subscribe).toMatchObject({
    type: "subscribe",
    id: expect.any(String),
    collection: "orders",
    fields: ["a", "b.c"],
    sort: [["at", -1]],
    limit: 20,
    snapshot: true,
    aggregate: { by: "status" },
    cursor: "c",
    ticket: "t",
  });
  // Left as it came, for the filter's own parser to judge.
  expect(JSON.stringify(subscribe.filter)).toBe('{"n":{"$gt":1},"__proto__":{"x":1}}');
  expect(rest).toEqual({ values: "ejson", key: null, waitMs: 250, bytes: expect.any(Number) });
});

test("a parameter that is left out has its default", () => {
  const { subscribe, values, waitMs } = parseUrlRequest("/v1/poll?collection=orders", "poll", DEFAULT_LIMITS);
  expect(Object.keys(subscribe).sort()).toEqual(["collection", "id", "type"]);
  expect([values, waitMs]).toEqual(["json", 25_000]);
});

test.each([
  ["0", 0],
  ["60", 60_000],
  ["60.000", 60_000],
  ["0.001", 1],
])("wait=%s is %d ms", (wait, waitMs) => {
  expect(parseUrlRequest(`/v1/poll?collection=x&wait=${wait}`, "poll", DEFAULT_LIMITS).waitMs).toBe(waitMs);
});

test.each(["60.001", "61", "-1", "1e1", "Infinity", "+5", "five", "0x10", "1.2345"])(
  "wait=%s is refused",
  (wait) => {
    expect(() =>
      parseUrlRequest(`/v1/poll?collection=x&wait=${encodeURIComponent(wait)}`, "poll", DEFAULT_LIMITS),
    ).toThrow(problems("wait"));
  },
);

test.each([
  ["limit", "1.5"],
  ["limit", "-1"],
  ["limit", "99999999999"],
  ["snapshot", "1"],
  ["snapshot", "False"],
  ["values", "JSON"],
  ["filter", "{n:1}"],
  ["filter", "null"],
  ["sort", "[[1]]"],
  ["fields", "a,,b"],
  ["collection", "c".repeat(256)],
])("%s=%s is refused", (name, value) => {
  const parameters = new URLSearchParams(name === "collection" ? {} : { collection: "x" });
  parameters.set(name, value);
  expect(() => parseUrlRequest(`/v1/sse?${parameters}`, "sse", DEFAULT_LIMITS)).toThrow(
    expect.objectContaining({ code: "bad-request", message: expect.stringMatching(new RegExp(`^${name}`)) }),
  );
});

test("reports all problems of a URL at once", () => {
  const url = "/v1/sse?collection=x&wait=1&snapshott=false&collection=y";
  expect(() => parseUrlRequest(url, "sse", DEFAULT_LIMITS)).toThrow(
    problems("wait", "snapshott", "collection"),
  );
});

test.each([
  "token=abc",
  "access_token=abc",
  "ACCESS-TOKEN=abc",
  "jwt=abc",
  "Authorization=Bearer%20abc",
  "key=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl",
  "collection=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSJ9.",
  "x=Bearer%20eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSJ9.abc",
  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl=1",
])("a token in a URL is refused, and not repeated: %s", (parameter) => {
  let answer = "";
  try {
    parseUrlRequest(`/v1/sse?${parameter}`, "sse", DEFAULT_LIMITS);
  } catch (error) {
    answer = JSON.stringify({ ...(error as object), message: (error as Error).message });
  }
  expect(answer).toContain("POST /v1/key");
  expect(answer).not.toMatch(/eyJ|abc/);
});

test.each([
  [undefined, undefined],
  ["Bearer abc", "abc"],
  ["bearer   abc  ", "abc"],
  ["Bearer", ""],
  ["Bearer a b", ""],
  ["Basic dTpw", undefined],
  ["Bearers abc", undefined],
])("of Authorization: %s the token is %j", (authorization, token) => {
  const request = { headers: authorization === undefined ? {} : { authorization } };
  expect(bearerOf(request as IncomingMessage)).toBe(token);
});
