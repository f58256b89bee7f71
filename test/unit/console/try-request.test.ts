import { expect, test } from "vitest";
import { formFor, type TryForm, tryRequestOf } from "../../../src/console/try/try-request.ts";

const form: TryForm = {
  from: "claims",
  user: '{"sub":"ada"}',
  connection: "",
  collection: "orders",
  filter: "",
  documentId: "",
};
const requestOf = (more: Partial<TryForm>) => {
  const read = tryRequestOf({ ...form, ...more });
  return "request" in read ? read.request : read.faults;
};

test("claims are JSON, or the payload of a token; without any the user is anonymous", () => {
  const payload = Buffer.from('{"sub":"änne"}').toString("base64url");
  expect(requestOf({})).toEqual({ claims: { sub: "ada" }, collection: "orders" });
  expect(requestOf({ user: `e30.${payload}.c2ln` })).toMatchObject({ claims: { sub: "änne" } });
  expect(requestOf({ user: " " })).toMatchObject({ claims: null });
});

test("a connection takes the place of the claims, and its link fills in the form", () => {
  const connected = { from: "connection", connection: " id " } as const;
  expect(requestOf(connected)).toEqual({ connection: "id", collection: "orders" });
  expect(requestOf({ ...connected, user: "{" })).toEqual({ connection: "id", collection: "orders" });
  expect(Object.keys(requestOf({ ...connected, connection: " " }))).toEqual(["connection"]);
  expect(formFor({ connection: "id" }, form)).toEqual({ ...form, from: "connection", connection: "id" });
  expect(formFor({ connection: "id", collection: "items" }, form)).toMatchObject({ collection: "items" });
  expect(formFor({}, form)).toBe(form);
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
