import { expect, test } from "vitest";
import { LeaseWatch, type SeenLease } from "../../../src/source/lease-watch.ts";

const TTL_MS = 1_000;
const lease = (fence: number, renewals: number, holder: string | null = "a"): SeenLease => ({
  holder,
  fence: BigInt(fence),
  renewals: BigInt(renewals),
  ttlMs: TTL_MS,
});

/** Each look: the lease, when it was asked for and answered, and the wait that follows. */
type Look = readonly [lease: SeenLease | null, askedAtMs: number, answeredAtMs: number, waitMs: number];

test.each<[title: string, looks: readonly Look[]]>([
  ["takes a lease that does not exist", [[null, 0, 1, 0]]],
  ["takes a lease that was released", [[lease(3, 9, null), 0, 1, 0]]],
  ["waits the whole time after the first look, whenever the holder renewed", [[lease(1, 1), 0, 40, 1_250]]],
  [
    "takes a lease that stayed the same for the ttl and a quarter of it",
    [
      [lease(1, 1), 0, 40, 1_250],
      [lease(1, 1), 1_040, 1_045, 250],
      [lease(1, 1), 1_289, 1_289, 1],
      [lease(1, 1), 1_290, 1_291, 0],
    ],
  ],
  [
    "counts from the answer of the first look to the question of the last one",
    [
      [lease(1, 1), 0, 900, 1_250],
      [lease(1, 1), 2_149, 9_000, 1],
      [lease(1, 1), 2_150, 9_000, 0],
    ],
  ],
  [
    "starts over when the holder has renewed",
    [
      [lease(1, 1), 0, 0, 1_250],
      [lease(1, 2), 1_249, 1_249, 1_250],
      [lease(1, 2), 2_498, 2_498, 1],
      [lease(1, 2), 2_499, 2_499, 0],
    ],
  ],
  [
    "starts over when another process has taken the lease, even with the same count of renewals",
    [
      [lease(1, 5), 0, 0, 1_250],
      [lease(2, 5, "b"), 1_250, 1_250, 1_250],
    ],
  ],
  ["waits for the ttl of the holder, not its own", [[{ ...lease(1, 1), ttlMs: 8_000 }, 0, 0, 10_000]]],
])("%s", (_title, looks) => {
  const watch = new LeaseWatch();
  for (const [seen, askedAtMs, answeredAtMs, waitMs] of looks)
    expect(watch.waitMs(seen, askedAtMs, answeredAtMs)).toBe(waitMs);
});

test("with extra time it waits that much longer, also for a lease that was released", () => {
  const watch = new LeaseWatch(2_000);
  expect(watch.waitMs(lease(1, 1), 0, 10)).toBe(3_000);
  expect(watch.waitMs(lease(1, 1), 3_009, 3_020)).toBe(1);
  expect(watch.waitMs(lease(1, 1), 3_010, 3_020)).toBe(0);
  expect(watch.waitMs(lease(1, 2, null), 3_030, 3_040)).toBe(2_000);
  expect(watch.waitMs(lease(1, 2, null), 5_040, 5_050)).toBe(0);
});

test("extra time that is shorter than the margin changes nothing", () => {
  expect(new LeaseWatch(100).waitMs(lease(1, 1), 0, 0)).toBe(1_250);
});
