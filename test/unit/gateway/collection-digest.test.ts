import { expect, test } from "vitest";
import { collectionDigest } from "../../../src/gateway/rights/collection-digest.ts";

test("names that clients use do not matter, and the digest has the same size for every collection", () => {
  const orders = { database: "shop", collectionName: "orders" };
  const digest = collectionDigest(orders);
  expect(collectionDigest(orders)).toBe(digest);
  expect(collectionDigest({ ...orders })).toBe(digest);
  const others = [
    { database: "shop", collectionName: "invoices" },
    { database: "archive", collectionName: "orders" },
    { database: "s", collectionName: "hop.orders" },
    { database: "shop", collectionName: "o".repeat(200) },
  ].map(collectionDigest);
  expect(new Set([digest, ...others]).size).toBe(5);
  expect(others.map(({ length }) => length)).toEqual(others.map(() => digest.length));
});
