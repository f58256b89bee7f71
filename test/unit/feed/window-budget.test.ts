import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import type { Delivery } from "../../../src/feed/delivery.ts";
import { Holdings } from "../../../src/feed/holdings.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { WindowBudget } from "../../../src/feed/window-budget.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { guardParts } from "../../support/guard-parts.ts";

const MIB = 1_048_576;

/** A node with room for 4 MiB of windows, of which each user has a share of 2 MiB. */
function start() {
  const limits = FeedLimits.parse({ windowBytes: 4 * MIB, userWindowBytes: 2 * MIB });
  const hits: string[] = [];
  const onLimit = (limit: string, outcome: string) => hits.push(`${limit} ${outcome}`);
  const holdings = new Holdings(1_000);
  const removed: LiveQuery[] = [];
  const ended: { liveQuery: LiveQuery; account: Account | null; error: Error }[] = [];
  const remove = (liveQuery: LiveQuery) => {
    removed.push(liveQuery);
    holdings.remove(liveQuery);
  };
  const end = (liveQuery: LiveQuery, account: Account | null, error: Error) => {
    ended.push({ liveQuery, account, error });
    for (const delivery of holdings.deliveriesOf(liveQuery, account)) holdings.leave(delivery, 0);
    if (!holdings.isFollowed(liveQuery)) remove(liveQuery);
  };
  const settled = async () => {};
  const guard = guardParts();
  const budget = new WindowBudget(limits, holdings, { remove, end, settled }, onLimit, guard);
  const user = () => new Account(limits, onLimit);
  const query = (heldBytes: number) => {
    // All that holdings and the budget look at.
    const state = { heldBytes };
    const liveQuery = { state, spec: { filter: parseFilter({}, { regex: "prefix" }) } } as LiveQuery;
    holdings.add(liveQuery);
    const resize = (bytes: number) => {
      state.heldBytes = bytes;
      budget.changed(liveQuery);
    };
    return { liveQuery, resize };
  };
  const follow = (liveQuery: LiveQuery, account: Account) => {
    const delivery = { liveQuery, account } as Delivery; // as above
    holdings.join(delivery);
    return delivery;
  };
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  return { budget, holdings, user, query, follow, removed, ended, hits, turn, guard };
}

test("a window is charged whole to each user who follows it, and once to the node", () => {
  const { budget, holdings, user, query, follow } = start();
  const { liveQuery, resize } = query(0);
  const [one, two] = [user(), user()];
  follow(liveQuery, one);
  resize(MIB);
  follow(liveQuery, two);
  expect([one.windowBytes, two.windowBytes, holdings.windowBytes]).toEqual([MIB, MIB, MIB]);
  budget.admit(one);
});

test("refuses what would pass a user's share, at the limit and not before", () => {
  const { budget, user, hits } = start();
  const account = user();
  const reading = budget.reading(account);
  reading.add(2 * MIB);
  expect(() => reading.add(1)).toThrow(
    expect.objectContaining({ details: { limit: "userWindowBytes", value: 2 * MIB } }),
  );
  expect(hits).toEqual(["userWindowBytes refused"]);
  reading.sub(MIB);
  reading.add(MIB);
  reading.release();
  expect([account.windowBytes, budget.readingBytes]).toEqual([0, 0]);
});

test("refuses what would pass the node's budget, however many users hold it", () => {
  const { budget, user } = start();
  const readings = [user(), user()].map((account) => budget.reading(account));
  for (const reading of readings) reading.add(2 * MIB);
  expect(() => budget.reading(user()).add(1)).toThrow(
    expect.objectContaining({ details: { limit: "windowBytes", value: 4 * MIB } }),
  );
  readings[0]?.release();
  budget.reading(user()).add(1);
});

test("windows that nobody follows go first, the oldest of the user's own for their share", () => {
  const { budget, holdings, user, query, follow, removed } = start();
  const account = user();
  const left = [query(0), query(0)].map(({ liveQuery, resize }) => {
    const delivery = follow(liveQuery, account);
    resize(MIB);
    holdings.leave(delivery, 0);
    return liveQuery;
  });
  const reading = budget.reading(account);
  reading.add(1);
  expect(removed).toEqual([left[0]]);
  reading.add(MIB);
  expect(removed).toEqual(left);
});

test("a window that grows past its user's share ends for that user alone", async () => {
  const { user, query, follow, ended, hits, turn } = start();
  const [greedy, bystander] = [user(), user()];
  const [small, large] = [query(0), query(0)];
  follow(small.liveQuery, greedy);
  follow(small.liveQuery, bystander);
  follow(large.liveQuery, greedy);
  small.resize(MIB);
  large.resize(MIB + 1);
  expect(ended).toEqual([]);
  await turn();
  expect(ended).toMatchObject([
    { liveQuery: large.liveQuery, account: greedy, error: { code: "too-many-subscriptions" } },
  ]);
  expect(hits).toEqual(["userWindowBytes ended"]);
  expect([greedy.windowBytes, bystander.windowBytes]).toEqual([MIB, MIB]);
});

test("windows that grow past the node's budget together end the largest, for all who follow it", async () => {
  const { holdings, user, query, follow, ended, turn } = start();
  const queries = [1.5, 1.75, 1].map((mib) => {
    const one = query(0);
    follow(one.liveQuery, user());
    one.resize(mib * MIB);
    return one.liveQuery;
  });
  await turn();
  expect(ended.map(({ liveQuery, account }) => [liveQuery, account])).toEqual([[queries[1], null]]);
  expect(holdings.windowBytes).toBe(2.5 * MIB);
});

test("an error while windows are ended is contained and counted, and the next change enforces the limit again", async () => {
  const { holdings, user, query, follow, ended, turn, guard } = start();
  const one = user();
  const { liveQuery, resize } = query(0);
  follow(liveQuery, one);
  const { deliveriesOf } = holdings;
  holdings.deliveriesOf = () => {
    throw new Error("a bug");
  };
  resize(3 * MIB);
  await turn();
  await turn();
  expect(ended).toEqual([]);
  const { values } = await guard.metrics.unexpectedErrors.get();
  expect(values).toMatchObject([{ labels: { where: "windows.enforce" }, value: 1 }]);
  holdings.deliveriesOf = deliveriesOf;
  resize(3 * MIB + 1);
  await turn();
  await turn();
  expect(ended).toMatchObject([{ account: one }]);
});
