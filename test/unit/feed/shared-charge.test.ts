import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { Holdings } from "../../../src/feed/holdings.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { SharedCharge } from "../../../src/feed/shared-charge.ts";
import { WindowBudget } from "../../../src/feed/window-budget.ts";
import { guardParts } from "../../support/guard-parts.ts";

const KIB = 1_024;

/** A budget in which each user has 100 KiB, and the node as much as given. */
function start(nodeBytes = 10_000 * KIB) {
  const limits = { ...FeedLimits.parse({ userWindowBytes: 100 * KIB }), windowBytes: nodeBytes };
  const hits: string[] = [];
  const onLimit = (limit: string) => void hits.push(limit);
  const actions = { remove: () => {}, end: () => {}, settled: async () => {} };
  const budget = new WindowBudget(limits, new Holdings(0), actions, onLimit, guardParts());
  const user = (windowBytes = 0) => {
    const account = new Account(limits, onLimit);
    account.growWindows(windowBytes);
    return { account, isRefused: false };
  };
  return { budget, user, hits };
}

const bytesOf = (...sharers: { account: Account }[]) =>
  sharers.map(({ account }) => account.windowBytes / KIB);

test("a user without room is refused alone: the next one pays for everything", () => {
  const { budget, user, hits } = start();
  const [full, fuller, free] = [user(80 * KIB), user(95 * KIB), user()];
  const charge = new SharedCharge(budget.reading(full.account), full);
  charge.join(fuller);
  charge.join(free);
  charge.add(10 * KIB);
  expect(bytesOf(full, fuller, free)).toEqual([90, 95, 0]);
  charge.add(20 * KIB);
  expect(bytesOf(full, fuller, free)).toEqual([80, 95, 30]);
  expect([full, fuller, free].map(({ isRefused }) => isRefused)).toEqual([true, true, false]);
  expect(hits).toEqual(["userWindowBytes"]);
  charge.leave(full);
  charge.leave(fuller);
  expect([bytesOf(free), budget.readingBytes]).toEqual([[30], 30 * KIB]);
  charge.leave(free);
  expect([bytesOf(free), budget.readingBytes]).toEqual([[0], 0]);
});

test("where no user has room, and where the node has none, nothing stays charged", () => {
  const { budget, user } = start();
  const [one, other] = [user(), user()];
  const charge = new SharedCharge(budget.reading(one.account), one);
  charge.join(other);
  charge.add(60 * KIB);
  expect(() => charge.add(60 * KIB)).toThrow("limits.userWindowBytes");
  expect([bytesOf(one, other), budget.readingBytes]).toEqual([[0, 0], 0]);
  const small = start(90 * KIB);
  const [first, second] = [small.user(), small.user()];
  const ofNode = new SharedCharge(small.budget.reading(first.account), first);
  ofNode.join(second);
  ofNode.add(60 * KIB);
  expect(() => ofNode.add(35 * KIB)).toThrow("limits.windowBytes");
  expect([first.isRefused, second.isRefused, small.hits]).toEqual([false, false, ["windowBytes"]]);
  for (const sharer of [first, second]) ofNode.leave(sharer);
  expect([bytesOf(first, second), small.budget.readingBytes]).toEqual([[0, 0], 0]);
});

test("a client that has the documents pays no more, if another one that waits for them has room", () => {
  const { budget, user } = start();
  const [done, full, stalled] = [user(), user(95 * KIB), user()];
  const charge = new SharedCharge(budget.reading(done.account), done);
  charge.join(full);
  charge.join(stalled);
  charge.add(10 * KIB);
  charge.leave(done);
  expect(bytesOf(done, full, stalled)).toEqual([0, 95, 10]);
  charge.leave(stalled);
  // Nobody else has room.
  expect(bytesOf(done, full, stalled)).toEqual([0, 95, 10]);
  full.account.growWindows(-50 * KIB);
  charge.leave(full);
  expect([bytesOf(done, full, stalled), budget.readingBytes]).toEqual([[0, 45, 0], 0]);
});
