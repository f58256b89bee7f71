import { expect, test } from "vitest";
import { joinSamples, LoadSamples } from "../../../src/admin/rates.ts";

const load = (deliveries: number, errors = 0) => ({
  connections: 1,
  subscriptions: 2,
  liveQueries: 3,
  deliveries,
  errors,
});

test("counts become rates, and a sample belongs to an interval of 5 s", () => {
  const samples = new LoadSamples();
  samples.add(load(100, 1), 10_001);
  expect(samples.all).toEqual([]);
  samples.add(load(150, 2), 15_001);
  expect(samples.all).toEqual([
    {
      atMs: 15_000,
      connections: 1,
      subscriptions: 2,
      liveQueries: 3,
      deliveriesPerSecond: 10,
      errorsPerSecond: 0.2,
    },
  ]);
});

test("the samples reach back 15 minutes, and no further", () => {
  const samples = new LoadSamples();
  for (let index = 0; index <= 181; index++) samples.add(load(index), index * 5_000);
  expect(samples.all).toHaveLength(180);
  expect(samples.all[0]?.atMs).toBe(10_000);
  expect(samples.all.at(-1)?.atMs).toBe(181 * 5_000);
});

test("the samples of workers are added by interval, and those of one alone stay", () => {
  const of = (atMs: number, rate: number) => ({
    atMs,
    connections: 1,
    subscriptions: 1,
    liveQueries: 1,
    deliveriesPerSecond: rate,
    errorsPerSecond: 0,
  });
  const joined = joinSamples([[of(5_000, 1), of(10_000, 2)], [of(10_000, 3)], []]);
  expect(
    joined.map(({ atMs, connections, deliveriesPerSecond }) => [atMs, connections, deliveriesPerSecond]),
  ).toEqual([
    [5_000, 1, 1],
    [10_000, 2, 5],
  ]);
});
