import { expect, test } from "vitest";
import { Account, type Load } from "../../../src/feed/account.ts";
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
const LOAD: Load = { windowBytes: 0, filterWork: 1 };
const outbox = (bufferedBytes = 0) => ({ bufferedBytes });

test("a user has as many subscriptions as the limit allows over all connections, and not one more", () => {
  const { account, refused } = open({ subscriptionsPerUser: 2 });
  const charge = account.subscribe(100);
  account.subscribe(100);
  expect(() => account.subscribe(100)).toThrow("limits.subscriptionsPerUser");
  expect(refused).toEqual(["subscriptionsPerUser"]);
  charge.giveBack();
  account.subscribe(100);
  expect(account.subscriptions).toBe(2);
});

test("the requests of a user take as much memory as the limit allows, and not one byte more", () => {
  const { account } = open({ userRequestBytes: 2_000 });
  account.subscribe(1_500);
  const charge = account.subscribe(500);
  expect(() => account.subscribe(1)).toThrow(
    expect.objectContaining({
      code: "too-many-subscriptions",
      details: { limit: "userRequestBytes", value: 2_000 },
    }),
  );
  charge.giveBack();
  account.subscribe(1);
});

test("refunds the charge of a subscription once, however often it is requested", () => {
  const { account } = open();
  account.subscribe(100);
  const charge = account.subscribe(200);
  charge.giveBack();
  charge.giveBack();
  expect([account.subscriptions, account.requestBytes]).toEqual([1, 100]);
});

test("a live query counts once for a user, held by one delivery or by several, and while it lingers", () => {
  const { account } = open({ liveQueriesPerUser: 1 });
  const one = liveQuery();
  expect([account.hold(one, LOAD), account.hold(one, LOAD)]).toEqual([true, false]);
  expect([account.liveQueries, account.limitFor(1), account.owns(one)]).toEqual([
    1,
    "liveQueriesPerUser",
    true,
  ]);
  expect(account.letGo(one, LOAD)).toBe(false);
  expect(account.liveQueries).toBe(1);
  expect(account.letGo(one, LOAD)).toBe(true);
  account.leftBehind(one, LOAD);
  expect([account.liveQueries, account.limitFor(1)]).toEqual([1, "liveQueriesPerUser"]);
  account.notLingering(one, LOAD);
  expect([account.liveQueries, account.limitFor(1), account.isEmpty(0)]).toEqual([0, null, true]);
});

test("of the live queries that a user left behind, the oldest goes first", () => {
  const { account } = open({ lingeringPerUser: 1 });
  const [first, second] = [liveQuery(), liveQuery()];
  account.leftBehind(first, LOAD);
  expect(account.lingersTooMuch).toBe(false);
  account.leftBehind(second, LOAD);
  expect([account.lingersTooMuch, account.oldestLingering]).toEqual([true, first]);
});

test("the filters of a user may cost as much as the limit allows, estimated, and not one step more", () => {
  const { account } = open({ filterWorkPerUser: 1_000 });
  account.hold(liveQuery(), { windowBytes: 0, filterWork: 600 });
  expect([account.limitFor(400), account.limitFor(401)]).toEqual([null, "filterWorkPerUser"]);
});

test("the windows of a user may hold their share, and not one byte more, while they grow and linger as well", () => {
  const { account } = open({ userWindowBytes: 100_000 });
  const one = liveQuery();
  const load = { windowBytes: 60_000, filterWork: 1 };
  account.hold(one, load);
  account.growWindows(30_000);
  expect([account.isOverWindows(10_000), account.isOverWindows(10_001)]).toEqual([false, true]);
  account.growWindows(-30_000);
  account.letGo(one, load);
  account.leftBehind(one, load);
  expect(account.windowBytes).toBe(60_000);
  account.notLingering(one, load);
  expect(account.windowBytes).toBe(0);
});

test("a user may cause so much work a second, and save up one second of it", () => {
  const { account } = open({ workPerUserMs: 100 });
  expect(account.work.spend(100, 10_000)).toBe(0);
  expect(account.work.isLow(10_000)).toBe(true);
  expect(account.work.spend(100, 11_000)).toBe(0);
  expect(account.work.spend(101, 12_000)).toBe(-1);
  account.work.forgive();
  expect(account.work.spend(0, 12_000)).toBe(0);
  expect([account.work.isLow(12_249), account.work.isLow(12_250)]).toEqual([true, false]);
  expect([account.isEmpty(12_999), account.isEmpty(13_000)]).toEqual([false, true]);
});

test("counts the queued bytes of all connections of a user together", () => {
  const { account } = open();
  const [one, two] = [outbox(100), outbox(200)];
  account.outboxes.add(one);
  account.outboxes.add(two);
  const haveRoomFor = (size: number) => account.outboxes.hasRoom(size, 1_000);
  expect([account.outboxes.size, haveRoomFor(700), haveRoomFor(701)]).toEqual([2, true, false]);
  account.outboxes.delete(one);
  expect([account.outboxes.size, haveRoomFor(800), haveRoomFor(801)]).toEqual([1, true, false]);
});

test("whatever is taken and given back in whatever order, an account ends empty", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  const { account } = open({ subscriptionsPerUser: 10, userRequestBytes: 5_000 });
  const taken: (() => void)[] = [];
  for (let step = 0; step < 2_000; step++) {
    if (random.chance(0.5)) {
      const [one, socket] = [liveQuery(), outbox()];
      const load = { windowBytes: random.int(0, 100), filterWork: random.int(1, 100) };
      try {
        const charge = account.subscribe(random.int(1, 2_000));
        taken.push(() => charge.giveBack());
      } catch {
        expect(taken.length, `seed ${seed}`).toBeGreaterThan(0);
      }
      account.hold(one, load);
      account.outboxes.add(socket);
      taken.push(
        () => {
          account.letGo(one, load);
          account.leftBehind(one, load);
          account.notLingering(one, load);
        },
        () => account.outboxes.delete(socket),
      );
    } else taken.splice(random.int(0, Math.max(0, taken.length - 1)), 1)[0]?.();
  }
  for (const giveBack of taken) giveBack();
  expect([account.subscriptions, account.requestBytes, account.isEmpty(0)], `seed ${seed}`).toEqual([
    0,
    0,
    true,
  ]);
});
