import { expect, test } from "vitest";
import { Claimers } from "../../../src/presence/claimers.ts";

const lease = (name: string, hasItems = true) => ({
  name,
  hasItems,
  holder: name,
  fence: 1n,
  renewals: 1n,
  removals: 0n,
  ttlMs: 5_000,
});

test("a lease with claims that is removed is missed for a while, and no longer", () => {
  const claimers = new Claimers(8_000);
  expect(claimers.note([lease("a"), lease("b")], 0)).toEqual([]);
  expect(claimers.isMissingAmong(new Set(["a", "b"]))).toBe(false);
  // Also before the next look has noticed it.
  expect(claimers.isMissingAmong(new Set(["a"]))).toBe(true);
  expect(claimers.note([lease("a")], 1_000)).toEqual(["b"]);
  expect(claimers.note([lease("a")], 8_999)).toEqual([]);
  expect(claimers.isMissingAmong(new Set(["a"]))).toBe(true);
  claimers.note([lease("a")], 9_000);
  expect(claimers.isMissingAmong(new Set(["a"]))).toBe(false);
});

test("a lease that was never there, that never claimed anything, or whose claims ended with a take-over, is not missed", () => {
  const claimers = new Claimers(8_000);
  claimers.note([lease("a"), lease("b", false), lease("c")], 0);
  claimers.note([lease("a"), lease("b", false), lease("c", false)], 1_000);
  expect(claimers.note([lease("a")], 2_000)).toEqual([]);
  expect(claimers.isMissingAmong(new Set(["a"]))).toBe(false);
});

test("a lease that is there again is not missed any more", () => {
  const claimers = new Claimers(8_000);
  claimers.note([lease("a")], 0);
  claimers.note([], 1_000);
  claimers.note([lease("a")], 2_000);
  expect(claimers.isMissingAmong(new Set(["a"]))).toBe(false);
  expect(claimers.note([], 3_000)).toEqual(["a"]);
});
