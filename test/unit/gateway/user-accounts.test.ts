import { expect, test } from "vitest";
import { Limiter } from "../../../src/feed/limiter.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Turn } from "../../../src/feed/turn.ts";
import { UserAccounts } from "../../../src/gateway/user-accounts.ts";

const accounts = () => new UserAccounts(FeedLimits.parse({}), () => {});

test.each([
  ["two addresses of one IPv6 /64", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true],
  ["two IPv6 addresses of different /64", "2001:db8:0:1::1", "2001:db8:0:2::1", false],
  ["one IPv4 address", "192.0.2.1", "192.0.2.1", true],
  ["two IPv4 addresses", "192.0.2.1", "192.0.2.2", false],
])("anonymous users share an account or not: %s", (_what, a, b, isShared) => {
  const all = accounts();
  expect(all.of(null, a) === all.of(null, b)).toBe(isShared);
  expect(all.size).toBe(isShared ? 1 : 2);
});

test("forgets an account to which nothing is charged, and keeps every other one", () => {
  const all = accounts();
  const used = all.of(null, "192.0.2.1");
  used.outboxes.add({ bufferedBytes: 0 });
  all.of(null, "192.0.2.2");
  all.sweep(0);
  expect([...all]).toEqual([used]);
});

test("keeps the account of a user whose reads are in progress, so that a return gives no further slots", async () => {
  const all = accounts();
  const reads = new Limiter({ most: 2 });
  const user = all.of(null, "192.0.2.1");
  const release = await reads.acquire(new Turn(user));
  all.sweep(0);
  expect(all.of(null, "192.0.2.1")).toBe(user);
  release();
  all.sweep(0);
  expect(all.size).toBe(0);
});
