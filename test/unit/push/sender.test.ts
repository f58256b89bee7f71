import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { Sender, type Sending } from "../../../src/push/sender.ts";
import { guardParts } from "../../support/guard-parts.ts";

/** Requests that end when the test says so. */
class Fake implements Sending {
  readonly host: string;
  readonly user: string;
  sent = 0;
  #answer = deferred();
  #hasMore = false;

  constructor(host: string, user: string) {
    this.host = host;
    this.user = user;
  }

  async sendNext(): Promise<boolean> {
    this.sent++;
    await this.#answer.promise;
    return this.#hasMore;
  }

  sendingFailed(): void {}

  async answer(hasMore = false): Promise<void> {
    const { resolve } = this.#answer;
    this.#answer = deferred();
    this.#hasMore = hasMore;
    resolve();
    await new Promise(setImmediate);
  }
}

const senderOf = (concurrency: number, concurrencyPerHost: number, concurrencyPerUser: number) =>
  new Sender({ concurrency, concurrencyPerHost, concurrencyPerUser }, guardParts());
const offered = (sender: Sender, ...names: readonly (readonly [host: string, user: string])[]) =>
  names.map(([host, user]) => {
    const fake = new Fake(host, user);
    sender.offer(fake);
    return fake;
  });
const sentOf = (fakes: readonly Fake[]) => fakes.map(({ sent }) => sent);

test("a host has concurrencyPerHost requests at a time, and others pass those that wait for it", async () => {
  const sender = senderOf(10, 2, 10);
  const fakes = offered(sender, ["slow", "1"], ["slow", "2"], ["slow", "3"], ["slow", "4"], ["fast", "5"]);
  expect(sentOf(fakes)).toEqual([1, 1, 0, 0, 1]);
  expect([sender.heldBack("host"), sender.heldBack("user")]).toEqual([2, 0]);
  await fakes[1]?.answer();
  expect(sentOf(fakes)).toEqual([1, 1, 1, 0, 1]);
  expect(sender.heldBack("host")).toBe(1);
});

test("a user has concurrencyPerUser requests at a time, whatever the hosts", async () => {
  const sender = senderOf(10, 10, 2);
  const fakes = offered(sender, ["a", "ada"], ["b", "ada"], ["c", "ada"], ["c", "bob"]);
  expect(sentOf(fakes)).toEqual([1, 1, 0, 1]);
  expect([sender.heldBack("host"), sender.heldBack("user")]).toEqual([0, 1]);
  await fakes[0]?.answer();
  expect(sentOf(fakes)).toEqual([1, 1, 1, 1]);
});

test("a registration that has changes all the time does not keep others of its user waiting", async () => {
  const sender = senderOf(10, 10, 1);
  const [busy, other] = offered(sender, ["a", "ada"], ["b", "ada"]);
  await busy?.answer(true);
  expect([busy?.sent, other?.sent]).toEqual([1, 1]);
  await other?.answer();
  expect(busy?.sent).toBe(2);
});

test("one that waits for its host and then for its user leaves the request of the host to the next", async () => {
  const sender = senderOf(10, 1, 1);
  const [first, ada, waits, next] = offered(sender, ["a", "eve"], ["b", "ada"], ["a", "ada"], ["a", "bob"]);
  await first?.answer();
  expect([waits?.sent, next?.sent]).toEqual([0, 1]);
  await ada?.answer();
  await next?.answer();
  expect(waits?.sent).toBe(1);
});

test("the end of a registration that was about to be sent lets those behind it pass", async () => {
  const sender = senderOf(2, 1, 2);
  const [a, , ends, next] = offered(sender, ["a", "1"], ["b", "2"], ["a", "3"], ["a", "4"]);
  sender.forget(ends as Fake);
  await a?.answer();
  expect([ends?.sent, next?.sent]).toEqual([0, 1]);
});

test("random offers, answers and ends: no limit is exceeded, and nothing waits while there is room", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.info(`seed ${seed}`);
  let state = seed;
  const below = (most: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % most;
  };
  const sender = senderOf(6, 3, 2);
  const fakes = Array.from({ length: 60 }, () => new Fake(`host ${below(4)}`, `user ${below(8)}`));
  const active = new Set<Fake>();
  const waiting = new Set<Fake>();
  const seen = new Map(fakes.map((fake) => [fake, 0]));
  const look = () => {
    for (const fake of fakes) {
      if (fake.sent === seen.get(fake)) continue;
      seen.set(fake, fake.sent);
      waiting.delete(fake);
      active.add(fake);
    }
    const count = (key: "host" | "user", name: string) =>
      [...active].filter((fake) => fake[key] === name).length;
    expect(active.size, `seed ${seed}`).toBeLessThanOrEqual(6);
    for (const { host, user } of active) {
      expect(count("host", host), `seed ${seed}`).toBeLessThanOrEqual(3);
      expect(count("user", user), `seed ${seed}`).toBeLessThanOrEqual(2);
    }
    if (active.size === 6) return;
    for (const { host, user } of waiting)
      expect(count("host", host) === 3 || count("user", user) === 2, `seed ${seed}`).toBe(true);
  };
  for (let step = 0; step < 600; step++) {
    const fake = fakes[below(fakes.length)] as Fake;
    if (active.has(fake)) {
      const hasMore = below(3) === 0;
      active.delete(fake);
      if (hasMore) waiting.add(fake);
      await fake.answer(hasMore);
    } else if (waiting.has(fake) && below(4) === 0) {
      waiting.delete(fake);
      sender.forget(fake);
    } else {
      waiting.add(fake);
      sender.offer(fake);
    }
    look();
  }
});
