import { createECDH, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { parseRegistration, registrationId } from "../../../src/push/parse-registration.ts";

const LIMITS = { dataBytes: 16, allowPrivate: false };
const push = () => ({
  endpoint: "https://push.example.com/send/abc",
  expirationTime: null,
  keys: {
    p256dh: createECDH("prime256v1").generateKeys("base64url"),
    auth: randomBytes(16).toString("base64url"),
  },
});
const request = () => ({ collection: "orders", push: push() });

function problemOf(fields: unknown, limits = LIMITS): string | undefined {
  try {
    parseRegistration(fields, limits);
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

test("asks for added documents by default, and keeps the order of the protocol", () => {
  expect(parseRegistration(request(), LIMITS)).toMatchObject({
    filter: {},
    on: ["added"],
    data: null,
    endsAtMs: null,
  });
  expect(parseRegistration({ ...request(), on: ["removed", "added", "removed"] }, LIMITS).on).toEqual([
    "added",
    "removed",
  ]);
});

test("takes the subscription as browsers write it, with padding and with fields of its own", () => {
  const given = push();
  const padded = {
    ...given,
    keys: { ...given.keys, auth: `${given.keys.auth}==` },
    other: 1,
    expirationTime: 5,
  };
  expect(parseRegistration({ ...request(), push: padded }, LIMITS, 4).endsAtMs).toBe(5);
});

test("refuses a subscription of a browser that has ended, which would take a place for nobody", () => {
  const ended = { ...request(), push: { ...push(), expirationTime: 1_000 } };
  expect(parseRegistration(ended, LIMITS, 999).endsAtMs).toBe(1_000);
  for (const nowMs of [1_000, 2_000])
    expect(() => parseRegistration(ended, LIMITS, nowMs)).toThrow(/push\.expirationTime/);
  expect(problemOf({ ...request(), push: { ...push(), expirationTime: -1 } })).toContain("expirationTime");
});

test("takes data up to its limit, as JSON", () => {
  expect(parseRegistration({ ...request(), data: "x".repeat(14) }, LIMITS).data).toBe(`"${"x".repeat(14)}"`);
  expect(problemOf({ ...request(), data: "x".repeat(15) })).toContain("push.dataBytes");
});

test.each([
  ["http://push.example.com/", false],
  ["http://push.example.com/", true, "allowed"],
  ["https://user:password@push.example.com/", true],
  ["ftp://push.example.com/", true],
  ["/send", true],
  ["", true],
])("the endpoint %s, private addresses allowed: %s", (endpoint, allowPrivate, outcome?: string) => {
  const problem = problemOf({ ...request(), push: { ...push(), endpoint } }, { ...LIMITS, allowPrivate });
  if (outcome === undefined) expect(problem).toContain("push.endpoint");
  else expect(problem).toBeUndefined();
});

test("refuses keys that are not those of a browser", () => {
  const given = push();
  const point = Buffer.from(given.keys.p256dh, "base64url");
  const moved = Buffer.from(point);
  moved.writeUInt8(moved.readUInt8(64) ^ 1, 64);
  for (const p256dh of [
    "",
    "abc",
    point.subarray(1).toString("base64url"),
    moved.toString("base64url"),
    "ä".repeat(87),
  ])
    expect(
      problemOf({ ...request(), push: { ...given, keys: { ...given.keys, p256dh } } }),
      p256dh,
    ).toContain("p256dh");
  for (const auth of ["", randomBytes(15).toString("base64url"), randomBytes(17).toString("base64url")])
    expect(problemOf({ ...request(), push: { ...given, keys: { ...given.keys, auth } } })).toContain(
      "push.keys.auth",
    );
});

test("refuses unknown fields, unknown changes and lists without one", () => {
  expect(problemOf({ ...request(), filters: {} })).toBeDefined();
  expect(problemOf({ ...request(), on: ["deleted"] })).toContain("on.0");
  expect(problemOf({ ...request(), on: [] })).toContain("on");
  expect(problemOf({ ...request(), filter: [] })).toContain("filter");
  expect(problemOf(null)).toBeDefined();
  expect(problemOf({ ...request(), on: { length: { toString: 1, valueOf: 1 } } })).toContain("wrong type");
});

test("the id fits into a Topic, is equal for equal requests of one user, and differs for everything else", () => {
  const asked = parseRegistration(request(), LIMITS);
  const id = registrationId("ada", asked);
  expect(id).toMatch(/^[\w-]{32}$/);
  expect(registrationId("ada", { ...asked })).toBe(id);
  const others = [
    registrationId("bob", asked),
    registrationId("ada", { ...asked, filter: { a: 1 } }),
    registrationId("ada", { ...asked, on: ["removed"] }),
    registrationId("ada", { ...asked, endpoint: "https://other.example.com/" }),
  ];
  expect(new Set([id, ...others]).size).toBe(5);
});
