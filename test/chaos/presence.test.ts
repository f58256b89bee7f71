/** Presence while nodes are killed and clients are cut off at random: nobody leaves who was away for less than the ttl. */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { enter, PATIENCE } from "../support/presence.ts";
import { connectTo, follow, startFleet } from "../support/presence-fleet.ts";
import { Random } from "../support/random.ts";
import type { SpawnedService } from "../support/spawn-service.ts";

const TTL_MS = 4_000;
const LEASE_MS = 5_000;
const FACTOR = Number(process.env["TIDEWIRE_FUZZ"] ?? 1);

test("clients of a killed node that enter elsewhere never leave, without a write, and the others leave in time", async () => {
  const { nodes, now, writes, entries } = await startFleet(2, TTL_MS);
  const [stays, dies] = nodes as [SpawnedService, SpawnedService];
  const { shown, left } = await follow(stays);
  const subs = Array.from({ length: 200 }, (_, i) => `u${i}`);
  for (const sub of subs) await enter(await connectTo(dies, sub), "r1");
  await expect.poll(() => shown.size, PATIENCE).toBe(200);
  const [moving, lost] = [subs.slice(0, 150), subs.slice(150)];
  const since = await now();
  await dies.kill("SIGKILL");
  const killedMs = performance.now();
  const moved = await Promise.all(moving.map((sub) => connectTo(stays, sub)));
  await Promise.all(moved.map((client) => enter(client, "r1")));
  expect(await writes(since)).toBe(0);
  await expect.poll(() => left.length, PATIENCE).toBe(lost.length);
  const goneMs = performance.now() - killedMs;
  expect([...left].sort()).toEqual([...lost].sort());
  // The lease was renewed at most a quarter of its length before the kill.
  expect(goneMs).toBeGreaterThan(LEASE_MS * 0.75 + TTL_MS);
  console.log(`gone ${goneMs.toFixed(0)} ms after the kill; lease and ttl are ${LEASE_MS + TTL_MS} ms`);
  // A busy machine adds to the second that the page promises.
  expect(goneMs).toBeLessThan(LEASE_MS + TTL_MS + 6_000);
  expect(await writes(since)).toBe(lost.length);
  expect(await entries.countDocuments()).toBe(moving.length);
});

test("nobody leaves by hundreds of cuts shorter than the ttl, while nodes are killed and started again", async () => {
  const seed = Number(process.env["TIDEWIRE_SEED"] ?? randomInt(2 ** 31));
  console.log(`presence: TIDEWIRE_SEED=${seed}`);
  const random = new Random(seed);
  const { nodes, entries } = await startFleet(3, TTL_MS);
  const [stable] = nodes as [SpawnedService];
  const { shown, left } = await follow(stable);
  const members = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const node = nodes[i % nodes.length] as SpawnedService;
      const client = await connectTo(node, `u${i}`);
      await enter(client, "r1");
      return { sub: `u${i}`, client };
    }),
  );
  await expect.poll(() => shown.size, PATIENCE).toBe(members.length);
  /** Connects to a node that runs, and enters. */
  const comeBack = async (member: (typeof members)[number]) => {
    for (;;) {
      try {
        const node = random.pick(nodes);
        const client = await connectTo(node, member.sub);
        if ((await enter(client, "r1")).type === "entered") {
          member.client = client;
          return;
        }
      } catch {
        await sleep(50); // that node does not run now
      }
    }
  };
  const wanted = 200 * FACTOR;
  let cuts = 0;
  let isOver = false;
  /** Cuts a member off now and then. If its node is killed, it comes back in the same way. */
  const live = async (member: (typeof members)[number]) => {
    while (!isOver) {
      if (cuts < wanted && random.chance(0.2)) {
        cuts++;
        member.client.socket.terminate();
        // Well below the ttl, as the machine may be busy.
        await sleep(random.int(0, TTL_MS / 4));
        await comeBack(member);
      } else if (member.client.closed !== undefined) await comeBack(member);
      await sleep(random.int(20, 400));
    }
  };
  const living = members.map(live);
  while (cuts < wanted) {
    await sleep(random.int(2_000, 4_000));
    await random.pick(nodes.slice(1)).restart("SIGKILL");
  }
  await expect.poll(() => members.every(({ client }) => client.closed === undefined), PATIENCE).toBe(true);
  isOver = true;
  await Promise.all(living);
  // Longer than the entries of any node that was killed may stay.
  await sleep(LEASE_MS + TTL_MS + 3_000);
  expect(left).toEqual([]);
  expect(await entries.countDocuments()).toBe(members.length);
  for (const { client } of members) client.socket.terminate();
  await expect.poll(() => entries.countDocuments(), PATIENCE).toBe(0);
  await expect.poll(() => left.length, PATIENCE).toBe(members.length);
});
