import { expect, test } from "vitest";
import { longLivedCopy } from "../../../src/match/long-lived.ts";

test("copies have the bytes of their values and share none with each other or with the original", () => {
  const values = Array.from({ length: 2_000 }, (_, n) => Buffer.alloc((n * 7) % 700, n));
  const copies = values.map(longLivedCopy);
  for (const value of values) value.fill(0xff);
  for (const [n, copy] of copies.entries()) expect(copy.equals(Buffer.alloc((n * 7) % 700, n))).toBe(true);
});
