import { expect, test } from "vitest";
import { subjectOf } from "../../../src/auth/subject.ts";
import type { Identity } from "../../../src/auth/verify-token.ts";
import {
  hasEnded,
  isDueForRenewal,
  isSameToken,
  termsFor,
} from "../../../src/gateway/rights/ticket-terms.ts";

const START_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const options = { maxAgeMs: 24 * HOUR_MS, clockToleranceMs: 5_000 };

const token = (claims: { iat?: number; exp?: number; nbf?: number; jti?: string }): Identity => ({
  claims: { sub: "u", ...claims },
  sub: "u",
  subject: subjectOf({ sub: "u" }),
  signedBy: "key",
  issuedAtMs: claims.iat === undefined ? null : claims.iat * 1_000,
  expiresAtMs: claims.exp === undefined ? null : claims.exp * 1_000,
  tokenId: claims.jti ?? null,
});

const start = START_MS / 1_000;
const first = token({ iat: start, exp: start + 600 });
const given = termsFor(first, START_MS, options);
const endedFor = (next: Identity | null, afterMs = HOUR_MS) =>
  hasEnded(given, next, START_MS + afterMs, options);

test("a ticket ends with its age, under whatever token", () => {
  for (const identity of [first, token({ iat: start, exp: start + 99_999, jti: "next" })]) {
    expect(endedFor(identity, 24 * HOUR_MS - 1)).toBe(false);
    expect(endedFor(identity, 24 * HOUR_MS)).toBe(true);
  }
});

test("a newer token may take over until the older one has expired, the tolerance of clocks included, and not later", () => {
  expect(endedFor(token({ iat: start + 300 }))).toBe(false);
  expect(endedFor(token({ iat: start + 605 }))).toBe(false);
  expect(endedFor(token({ iat: start + 606 }))).toBe(true);
});

test("a token that is not valid before the older one has expired leaves a gap, whenever it was issued", () => {
  expect(endedFor(token({ iat: start, nbf: start + 605 }))).toBe(false);
  expect(endedFor(token({ iat: start, nbf: start + 606 }))).toBe(true);
});

test("a token that does not say when it was issued may have been issued just now", () => {
  expect(endedFor(token({ jti: "next" }), 605_000)).toBe(false);
  expect(endedFor(token({ jti: "next" }), 605_001)).toBe(true);
});

test("without an expiry there is no gap, and the very token of the ticket leaves none", () => {
  const forEver = termsFor(token({ iat: start }), START_MS, options);
  expect(hasEnded(forEver, token({ iat: start + 9_999 }), START_MS + HOUR_MS, options)).toBe(false);
  expect(endedFor(first)).toBe(false);
  expect(isSameToken(given, first)).toBe(true);
  expect(isSameToken(given, token({ iat: start, exp: start + 600 }))).toBe(true);
  expect(isSameToken(given, token({ iat: start, exp: start + 601 }))).toBe(false);
});

test("anonymous users have one token that never expires", () => {
  const terms = termsFor(null, START_MS, options);
  expect(isSameToken(terms, null)).toBe(true);
  expect(isSameToken(terms, first)).toBe(false);
  expect(hasEnded(terms, null, START_MS + HOUR_MS, options)).toBe(false);
});

test("a ticket is renewed from half of its age on", () => {
  expect(isDueForRenewal(given, START_MS + 12 * HOUR_MS - 1, options)).toBe(false);
  expect(isDueForRenewal(given, START_MS + 12 * HOUR_MS, options)).toBe(true);
});
