import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Random } from "../../support/random.ts";

function open(limits: Partial<FeedLimits> = {}) {
  const refused: string[] = [];
  const account = new Account(FeedLimits.parse(limits), (limit) => refused.push(limit));
  return { account, refused };
}

/** An account only compares live queries. */
const liveQuery = () => ({}) as LiveQuery;

test("a user has as many subscriptions as the limit allows over all connections, and not one more", () => {
  const { account, refused } = open({ subscriptionsPerUser: 2 });
  const giveBack = account.subscribe(100);
  account.subscribe(100);
  expect(() => account.subscribe(100)).toThrow("limits.subscriptionsPerUser");
  expect(refused).toEqual(["subscriptionsPerUser"]);
  giveBack();
  account.subscribe(100);
  expect(account.subscriptions).toBe(2);
});

test("the requests of a user take as much memory as the limit allows, and not one byte more", () => {
  const { account } = open({ userRequestBytes: 2_000 });
  account.subscribe(1_500);
  const giveBack = account.subscribe(500);
  expect(() => account.subscribe(1)).toThrow(
    expect.objectContaining({
      code: "too-many-subscriptions",
      details: { limit: "userRequestBytes", value: 2_000 },
    }),
  );
  giveBack();
  account.subscribe(1);
});

test("gives back once what one subscription was charged, however often it is asked to", () => {
  const { account } = open();
  account.subscribe(100);
  const giveBack = account.subscribe(200);
  giveBack();
  giveBack();
  expect([account.subscriptions, account.requestBytes]).toEqual([1, 100]);
});

test("a live query counts once for a user, held by one delivery or by several, and while it lingers", () => {
  const { account } = open({ liveQueriesPerUser: 1 });
  const one = liveQuery();
  account.hold(one);
  account.hold(one);
  expect([account.liveQueries, account.isFull, account.owns(one)]).toEqual([1, true, true]);
  account.letGo(one);
  expect(account.liveQueries).toBe(1);
  account.letGo(one);
  account.leftBehind(one);
  expect([account.liveQueries, account.lingering, account.isFull]).toEqual([1, 1, true]);
  account.notLingering(one);
  expect([account.liveQueries, account.isFull, account.isEmpty]).toEqual([0, false, true]);
});

test("of the live queries that a user left behind, the oldest goes first", () => {
  const { account } = open({ lingeringPerUser: 1 });
  const [first, second] = [liveQuery(), liveQuery()];
  account.leftBehind(first);
  expect(account.lingersTooMuch).toBe(false);
  account.leftBehind(second);
  expect([account.lingersTooMuch, account.oldestLingering]).toEqual([true, first]);
});

test("whatever is taken and given back in whatever order, an account ends empty", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  const { account } = open({ subscriptionsPerUser: 10, userRequestBytes: 5_000 });
  const taken: (() => void)[] = [];
  for (let step = 0; step < 2_000; step++) {
    if (random.chance(0.5)) {
      const one = liveQuery();
      try {
        taken.push(account.subscribe(random.int(1, 2_000)));
      } catch {
        expect(taken.length, `seed ${seed}`).toBeGreaterThan(0);
      }
      account.hold(one);
      account.connected();
      taken.push(
        () => account.letGo(one),
        () => account.disconnected(),
      );
    } else taken.splice(random.int(0, Math.max(0, taken.length - 1)), 1)[0]?.();
  }
  for (const giveBack of taken) giveBack();
  expect([account.subscriptions, account.requestBytes, account.isEmpty], `seed ${seed}`).toEqual([
    0,
    0,
    true,
  ]);
});
