import { expect, test } from "vitest";
import { holderOf, maySucceed, subjectOf } from "../../../src/auth/subject.ts";

const token = (claims: { iss?: string; sub?: string; [claim: string]: unknown }) => ({
  claims,
  subject: subjectOf(claims),
});

test("one user has one subject, whatever else the token says", () => {
  expect(subjectOf({ iss: "https://a", sub: "ada" })).toBe(subjectOf({ iss: "https://a", sub: "ada" }));
});

test.each([
  ["another issuer", { iss: "https://b", sub: "ada" }],
  ["no issuer", { sub: "ada" }],
  ["an empty issuer", { iss: "", sub: "ada" }],
  ["an issuer called null", { iss: "null", sub: "ada" }],
  ["another sub", { iss: "https://a", sub: "bob" }],
  ["the parts divided elsewhere", { iss: "https://a\0ad", sub: "a" }],
  ["a lone surrogate", { iss: "https://a", sub: "\ud800" }],
  ["another lone surrogate", { iss: "https://a", sub: "\ud801" }],
])("%s is another subject", (_name, other: { iss?: string; sub: string }) => {
  const all: { iss?: string; sub: string }[] = [
    { iss: "https://a", sub: "ada" },
    { iss: "https://a", sub: "\ud800" },
    { iss: "", sub: "ada" },
    { sub: "ada" },
  ];
  const others = all.filter(({ iss, sub }) => iss !== other.iss || sub !== other.sub);
  for (const one of others) expect(subjectOf(other)).not.toBe(subjectOf(one));
});

test("a token without sub has no subject; an empty sub is one", () => {
  expect(subjectOf({ iss: "https://a" })).toBeNull();
  expect(subjectOf({ iss: "https://a", sub: "" })).not.toBeNull();
});

test("a subject has the same size for a sub of 1 and of 1,600 characters", () => {
  expect(subjectOf({ sub: "x".repeat(1_600) })).toHaveLength(subjectOf({ sub: "x" })?.length ?? 0);
});

test("a ticket's holder is the user; without a sub it is the very token; anonymous users are one holder", () => {
  expect(holderOf(token({ sub: "ada", iat: 1 }))).toBe(holderOf(token({ sub: "ada", iat: 2 })));
  expect(holderOf(token({ iat: 1 }))).toBe(holderOf(token({ iat: 1 })));
  expect(holderOf(token({ iat: 1 }))).not.toBe(holderOf(token({ iat: 2 })));
  const holders = [null, token({}), token({ sub: "" }), token({ sub: "ada" })].map(holderOf);
  expect(new Set(holders).size).toBe(holders.length);
});

test("a connection continues under a token of the same user, or if neither token names a user", () => {
  const [ada, adaAgain, bob, nobody] = [
    token({ sub: "ada" }),
    token({ sub: "ada", role: "x" }),
    token({ sub: "bob" }),
    token({ role: "x" }),
  ];
  expect(maySucceed(ada, adaAgain)).toBe(true);
  expect(maySucceed(nobody, token({ role: "y" }))).toBe(true);
  for (const other of [bob, nobody, token({ iss: "https://b", sub: "ada" })]) {
    expect(maySucceed(ada, other)).toBe(false);
    expect(maySucceed(other, ada)).toBe(false);
  }
});
