import { pino } from "pino";
import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import type { Holdings } from "../../../src/feed/holdings.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { WorkMeter } from "../../../src/feed/work-meter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const FILTER = parseFilter({ tags: { $elemMatch: { a: 1 } } }, { regex: "prefix" });

/** A meter, users with 100 ms a second, and who holds what. */
function start() {
  const limits = FeedLimits.parse({ workPerUserMs: 100 });
  const holders = new Map<LiveQuery, Set<Account>>();
  const ended: [LiveQuery, Account, Error][] = [];
  /** The live queries that had spent something when they were judged. */
  const judged: LiveQuery[] = [];
  const at = { cpuMs: 0, random: 0 };
  // The meter needs no more of the holdings.
  const holdings = {
    accountsOf: (one: LiveQuery) => {
      judged.push(one);
      return holders.get(one) ?? new Set();
    },
  } as unknown as Holdings;
  const metrics = createMetrics();
  const meter = new WorkMeter({
    holdings,
    metrics,
    log: pino({ level: "silent" }),
    end: (...what) => ended.push(what),
    cpuMs: () => at.cpuMs,
    random: () => at.random,
  });
  const user = () => new Account(limits, () => {});
  const hold = (...accounts: Account[]) => {
    const spec = { filter: FILTER, sort: null };
    const liveQuery = { namespace: "d.c", spec } as unknown as LiveQuery; // all that the meter looks at
    holders.set(liveQuery, new Set(accounts));
    return liveQuery;
  };
  /** Work during which the process ran all the time. */
  const work = (liveQuery: LiveQuery, ms: number) => {
    meter.note(liveQuery, ms);
    at.cpuMs += ms;
  };
  return { meter, metrics, at, user, hold, work, ended, judged };
}

test("the costliest live queries of a user who passes the budget end, and as few as it takes", () => {
  const { meter, user, hold, work, ended } = start();
  const one = user();
  const [cheap, expensive, costliest] = [hold(one), hold(one), hold(one)];
  work(cheap, 10);
  work(expensive, 60);
  work(costliest, 70);
  meter.judge(1_000);
  expect(ended.map(([liveQuery, account]) => [liveQuery, account])).toEqual([[costliest, one]]);
  expect(ended[0]?.[2]).toMatchObject({
    code: "too-many-subscriptions",
    details: { limit: "workPerUser", value: 100 },
  });
});

test("during a commit that exhausts a user, the live queries that were not evaluated end, unless they are cheap or followed by others", () => {
  const { meter, user, hold, work, ended } = start();
  const [one, other] = [user(), user()];
  const [first, cheap, second, shared] = [hold(one), hold(one), hold(one), hold(one, other)];
  work(cheap, 0.06);
  meter.judge(1_000);
  meter.beginCommit();
  expect(meter.isTight).toBe(false);
  work(first, 130);
  meter.judge(1_001);
  expect(meter.isTight).toBe(true);
  for (const liveQuery of [cheap, second, shared]) meter.shed(liveQuery);
  expect(ended.map(([liveQuery]) => liveQuery)).toEqual([first, second]);
  expect(ended[1]?.[2]).toMatchObject({ details: { limit: "workPerUser" } });
  meter.beginCommit();
  expect(meter.isTight).toBe(false);
});

test("nothing ends as long as the budget lasts, second after second", () => {
  const { meter, user, hold, work, ended } = start();
  const liveQuery = hold(user());
  for (let second = 1; second <= 60; second++) {
    work(liveQuery, 100);
    meter.judge(second * 1_000);
  }
  expect(ended).toEqual([]);
});

test("the work of one user is never charged to another", () => {
  const { meter, user, hold, work, ended } = start();
  const [greedy, bystander] = [user(), user()];
  const [expensive, cheap] = [hold(greedy), hold(bystander)];
  work(expensive, 1_000);
  work(cheap, 1);
  meter.judge(1_000);
  expect(ended.map(([liveQuery]) => liveQuery)).toEqual([expensive]);
});

test("charges the cost of a shared live query to its users in equal parts", () => {
  const { meter, user, hold, work, ended } = start();
  const users = Array.from({ length: 10 }, user);
  const shared = hold(...users);
  work(shared, 999);
  meter.judge(1_000);
  expect(ended).toEqual([]);
  work(shared, 1_012);
  meter.judge(2_000);
  expect(ended.map(([, account]) => account)).toEqual(users);
});

test("what it takes to find the live queries is shared by all that are filed", () => {
  const { meter, at, user, hold, ended } = start();
  const [many, single] = [user(), user()];
  const filed = [...Array.from({ length: 99 }, () => hold(many)), hold(single)];
  meter.noteSearch({ size: filed.length, items: () => filed }, 300);
  at.cpuMs += 300;
  meter.judge(1_000);
  expect(ended.length).toBeGreaterThan(0);
  expect(ended.every(([, account]) => account === many)).toBe(true);
});

test("a process that hardly ran charges the elapsed time to no user", () => {
  const { meter, at, user, hold, ended } = start();
  meter.note(hold(user()), 1_000);
  at.cpuMs += 50;
  meter.judge(1_000);
  expect(ended).toEqual([]);
});

test("reports the work of all, and the costliest live query, which is forgotten when it does nothing more", async () => {
  const { meter, metrics, user, hold, work } = start();
  const read = async (metric: { get(): Promise<{ values: { value: number }[] }> }) =>
    (await metric.get()).values[0]?.value;
  work(hold(user()), 30);
  work(hold(user()), 50);
  meter.judge(1_000);
  expect(await read(metrics.matchSeconds)).toBeCloseTo(0.08);
  expect(await read(metrics.costliestLiveQuery)).toBeCloseTo(0.05);
  meter.judge(2_000);
  expect(await read(metrics.costliestLiveQuery)).toBe(0);
});

test("many cheap live queries cost their user as much in the mean as they take, and most of them are not written down", async () => {
  const { meter, metrics, at, user, hold, work, judged } = start();
  const ada = user();
  const before = ada.work.spend(0, 0);
  const liveQueries = Array.from({ length: 1_000 }, () => hold(ada));
  for (const [n, liveQuery] of liveQueries.entries()) {
    // Evenly spread, as random numbers are in the mean.
    at.random = n / liveQueries.length;
    work(liveQuery, 0.01);
  }
  meter.judge(0);
  expect(judged).toHaveLength(200);
  expect(before - ada.work.spend(0, 0)).toBeCloseTo(10);
  expect((await metrics.matchSeconds.get()).values[0]?.value).toBeCloseTo(0.01);
});

test("a live query is expensive as long as its commits take long, and is forgotten after many cheap ones", () => {
  const { meter, user, hold, work } = start();
  const liveQuery = hold(user());
  work(liveQuery, 0.01);
  expect(meter.meanMs(liveQuery)).toBe(0);
  work(liveQuery, 1);
  expect(meter.meanMs(liveQuery)).toBe(1);
  work(liveQuery, 0);
  expect(meter.meanMs(liveQuery)).toBeCloseTo(0.8);
  for (let n = 0; n < 100; n++) work(liveQuery, 0.001);
  expect(meter.meanMs(liveQuery)).toBe(0);
});

test("decisions about rights end nothing, and leave no room for further live queries until it has grown again", () => {
  const { meter, at, user, hold, work, ended } = start();
  const one = user();
  const liveQuery = hold(one);
  meter.noteRights(one, 500);
  at.cpuMs += 500;
  meter.judge(1_000);
  expect(one.work.isLow(1_000)).toBe(true);
  work(liveQuery, 15);
  meter.judge(1_000);
  expect(ended).toEqual([]);
  expect(one.work.isLow(1_300)).toBe(false);
});
