import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { Limiter } from "../../../src/feed/limiter.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { type Payer, Turn } from "../../../src/feed/turn.ts";

const settled = () => new Promise(setImmediate);

test("lets so many callers hold a slot at once, and the others follow in the order in which they asked", async () => {
  const limiter = new Limiter({ most: 2 });
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
  const limiter = new Limiter({ most: 1 });
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
  const limiter = new Limiter({ most: 1 });
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
  const limiter = new Limiter({ most: 1, limit: "catchUpStreams" }, gauge);
  const release = await limiter.acquire();
  expect(waiting).toBe(0);
  const others = [limiter.acquire(), limiter.acquire()];
  expect(waiting).toBe(2);
  release();
  for (const other of others) (await other)();
  expect([waiting, asked]).toEqual([0, ["catchUpStreams", "catchUpStreams"]]);
});

const newUser = () => new Account(FeedLimits.parse({}), () => {});

/** A limiter, and the order in which named callers received a slot. */
function start(most: number, mostPerUser = most) {
  const limiter = new Limiter({ most, mostPerUser });
  const order: string[] = [];
  const releases = new Map<string, () => void>();
  const ask = (name: string, turn: Turn) => {
    void limiter.acquire(turn).then((release) => {
      order.push(name);
      releases.set(name, release);
    });
  };
  const release = async (...names: string[]) => {
    for (const name of names) {
      releases.get(name)?.();
      await settled();
    }
  };
  return { limiter, order, ask, release };
}

test("users take turns, and each user's requests keep their order", async () => {
  const { order, ask, release, limiter } = start(1);
  const users: [string, Payer][] = [
    ["a", newUser()],
    ["b", newUser()],
    ["own ", null],
  ];
  for (const [name, user] of users) for (const n of [1, 2, 3]) ask(`${name}${n}`, new Turn(user));
  const expected = ["a1", "a2", "b1", "own 1", "a3", "b2", "own 2", "b3", "own 3"];
  await settled();
  for (const name of expected) await release(name);
  expect(order).toEqual(expected);
  expect(limiter.held).toBe(0);
});

test("one user holds no more than a share, also while nobody else waits", async () => {
  const { order, ask, release, limiter } = start(3, 2);
  const busy = newUser();
  for (const n of [1, 2, 3, 4]) ask(`a${n}`, new Turn(busy));
  await settled();
  expect(order).toEqual(["a1", "a2"]);
  ask("b1", new Turn(newUser()));
  await settled();
  expect(order).toEqual(["a1", "a2", "b1"]);
  await release("b1");
  expect(order).toEqual(["a1", "a2", "b1"]);
  await release("a2", "a1", "a3", "a4");
  expect(order).toEqual(["a1", "a2", "b1", "a3", "a4"]);
  expect(limiter.held).toBe(0);
});

test("a request of several users is served once, as soon as it is the turn of one of them", async () => {
  const { order, ask, release, limiter } = start(2, 1);
  const [busy, other] = [newUser(), newUser()];
  const shared = new Turn(busy);
  ask("a1", new Turn(busy));
  ask("a2", new Turn(busy));
  ask("shared", shared);
  await settled();
  expect(order).toEqual(["a1"]);
  // The slot that is free is not for the user who has its share, but for the one who joins.
  shared.join(other);
  await settled();
  expect(order).toEqual(["a1", "shared"]);
  await release("a1");
  expect(order).toEqual(["a1", "shared", "a2"]);
  await release("shared", "a2");
  expect([order.length, limiter.held]).toEqual([3, 0]);
});
