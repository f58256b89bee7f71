import { expect, test } from "vitest";
import { Limiter } from "../../../src/feed/limiter.ts";

const settled = () => new Promise(setImmediate);

test("lets so many callers hold a slot at once, and the others follow in the order in which they asked", async () => {
  const limiter = new Limiter(2);
  const order: number[] = [];
  const releases: (() => void)[] = [];
  for (let n = 0; n < 5; n++) {
    void limiter.acquire().then((release) => {
      order.push(n);
      releases.push(release);
    });
  }
  await settled();
  expect([order, limiter.held]).toEqual([[0, 1], 2]);
  releases[1]?.();
  await settled();
  expect([order, limiter.held]).toEqual([[0, 1, 2], 2]);
  releases[0]?.();
  releases[2]?.();
  await settled();
  expect(order).toEqual([0, 1, 2, 3, 4]);
  for (const release of releases) release();
  expect(limiter.held).toBe(0);
});

test("releasing a slot twice frees one slot only", async () => {
  const limiter = new Limiter(1);
  const release = await limiter.acquire();
  release();
  release();
  expect(limiter.held).toBe(0);
  await limiter.acquire();
  let second = false;
  void limiter.acquire().then(() => {
    second = true;
  });
  await settled();
  expect(second).toBe(false);
});

test("releases the slot of work that fails", async () => {
  const limiter = new Limiter(1);
  await expect(limiter.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await limiter.run(async () => limiter.held)).toBe(1);
  expect(limiter.held).toBe(0);
});

test("counts those who wait, by the option that limits them", async () => {
  let waiting = 0;
  const asked: string[] = [];
  const gauge = {
    inc: ({ limit }: { limit: string }) => {
      waiting++;
      asked.push(limit);
    },
    dec: () => void waiting--,
  };
  const limiter = new Limiter(1, gauge, "catchUpStreams");
  const release = await limiter.acquire();
  expect(waiting).toBe(0);
  const others = [limiter.acquire(), limiter.acquire()];
  expect(waiting).toBe(2);
  release();
  for (const other of others) (await other)();
  expect([waiting, asked]).toEqual([0, ["catchUpStreams", "catchUpStreams"]]);
});
