/** The client's presence on a real service, over every transport. */
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient, type TransportKind } from "../../../src/client/client.ts";
import { enter, whoIsIn } from "../../../src/client/presence/presence.ts";
import { PATIENCE, startPresence } from "../../support/presence.ts";
import { signToken } from "../../support/service.ts";

function clientFor(port: number, sub: string, transports: readonly TransportKind[] = ["ws"]) {
  const client = createClient({
    url: `http://127.0.0.1:${port}`,
    token: () => signToken({ sub }),
    WebSocket,
    transports,
    logger: false,
    reconnect: { maxMs: 100, attemptsPerMinute: 600 },
  });
  onTestFinished(() => client.close());
  return client;
}

test.each<TransportKind>(["ws", "sse", "poll"])(
  "over %s a client enters, stays beyond the ttl, changes its data and leaves",
  async (transport) => {
    const { service, entries, countWrites } = await startPresence({ presence: { ttl: "2s" } });
    const { port } = service.address;
    const seen: unknown[] = [];
    whoIsIn(clientFor(port, "follower"), "r1").subscribe({
      data: (all) => seen.push(all.map(({ user, data }) => [user, data])),
    });
    const ada = enter<{ n: number }>(clientFor(port, "ada", [transport]), "r1", { n: 1 });
    await expect.poll(() => seen.at(-1), PATIENCE).toEqual([["ada", { n: 1 }]]);
    await expect.poll(() => ada.state.status, PATIENCE).toBe("present");
    const writes = await countWrites();
    const startedMs = performance.now();
    await expect
      .poll(() => performance.now() - startedMs, { ...PATIENCE, interval: 100 })
      .toBeGreaterThan(4_000);
    expect(await writes()).toBe(0);
    ada.update({ n: 2 });
    await expect.poll(() => seen.at(-1), PATIENCE).toEqual([["ada", { n: 2 }]]);
    ada.leave();
    await expect.poll(() => seen.at(-1), PATIENCE).toEqual([]);
    expect(seen.slice(-3)).toEqual([[["ada", { n: 1 }]], [["ada", { n: 2 }]], []]);
    await expect.poll(() => entries.countDocuments(), PATIENCE).toBe(0);
  },
);

test("a client whose entry was lost enters again by itself, and a client without the right learns why", async () => {
  const { service, entries } = await startPresence({
    presence: { rules: [{ name: "r1", filter: { room: "r1" } }] },
  });
  const client = clientFor(service.address.port, "ada");
  const [allowed, refused] = [enter(client, "r1"), enter(client, "r2")];
  await expect.poll(() => allowed.state.status, PATIENCE).toBe("present");
  await expect
    .poll(() => refused.state, PATIENCE)
    .toMatchObject({ status: "left", error: { code: "forbidden" } });
  await entries.deleteMany({});
  await expect.poll(() => entries.countDocuments({ room: "r1" }), PATIENCE).toBe(1);
  expect(allowed.state.status).toBe("present");
});
