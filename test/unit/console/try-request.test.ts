import { expect, test } from "vitest";
import { tryRequestOf } from "../../../src/console/try/try-request.ts";

const form = { user: '{"sub":"ada"}', collection: "orders", filter: "", documentId: "" };
const requestOf = (more: Partial<typeof form>) => {
  const read = tryRequestOf({ ...form, ...more });
  return "request" in read ? read.request : read.faults;
};

test("claims are JSON, or the payload of a token; without any the user is anonymous", () => {
  const payload = Buffer.from('{"sub":"änne"}').toString("base64url");
  expect(requestOf({})).toEqual({ claims: { sub: "ada" }, collection: "orders" });
  expect(requestOf({ user: `e30.${payload}.c2ln` })).toMatchObject({ claims: { sub: "änne" } });
  expect(requestOf({ user: " " })).toMatchObject({ claims: null });
});

test.each([
  ["7", 7],
  ["ride-7", "ride-7"],
  ['{"$oid":"0123456789abcdef01234567"}', { $oid: "0123456789abcdef01234567" }],
])("the _id %s is read as JSON where it is JSON", (documentId, expected) => {
  expect(requestOf({ documentId })).toMatchObject({ documentId: expected });
});

test("each mistake is reported at its field", () => {
  expect(Object.keys(requestOf({ user: "[1]", collection: " ", filter: "{" }))).toEqual([
    "user",
    "filter",
    "collection",
  ]);
  expect(Object.keys(requestOf({ user: "a.!!!.c" }))).toEqual(["user"]);
});
