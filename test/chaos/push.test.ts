/** Nodes that serve push registrations are killed, over and over, while documents are written. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { testDatabase } from "../support/mongod.ts";
import { PushClient } from "../support/push-client.ts";
import { PushEndpoint } from "../support/push-endpoint.ts";
import { ORDERS, pushSection } from "../support/push-world.ts";
import { testConfig } from "../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../support/spawn-service.ts";

const USERS = 12;
const KILLS = 6;
const PAUSE_MS = 20;

async function spawn(uri: string, database: string, push: object): Promise<SpawnedService> {
  const file = testConfig(uri, database, {
    collections: ORDERS,
    push: { ...push },
    history: { window: "5m" },
  });
  const service = await spawnService({
    config: { ...file, log: { level: "info" } } as unknown as ServiceConfig,
  });
  await expect.poll(async () => (await fetch(`${service.adminUrl}/readyz`)).ok).toBe(true);
  return service;
}

test("the latest change of every registration arrives, whichever node is killed, and nothing of another user", async () => {
  const { uri, name, client } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const endpoint = await PushEndpoint.start();
  const push = pushSection({ leaseTtl: "2s" });
  const nodes = [await spawn(uri, name, push), await spawn(uri, name, push)];
  const users = Array.from({ length: USERS }, (_, n) => `user-${n}`);
  for (const [index, user] of users.entries()) {
    const registered = new PushClient(() => nodes[index % 2]!.url, { sub: user });
    await registered.registered(endpoint.subscription(user));
  }
  // A push service that is slow, and sometimes fails.
  let asked = 0;
  endpoint.answerBy(() => ({ status: asked++ % 7 === 0 ? 503 : 201 }));
  const writer = new MongoClient(uri);
  onTestFinished(() => writer.close());
  const orders = writer.db(name).collection("orders");
  let isOver = false;
  let written = 0;
  const writing = (async () => {
    while (!isOver) {
      await orders.insertMany(users.map((owner) => ({ number: written + 1, owner, item: `of ${owner}` })));
      written++;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();
  for (let kill = 0; kill < KILLS; kill++) {
    const before = written;
    await expect.poll(() => written - before).toBeGreaterThan(10);
    await nodes[kill % 2]!.restart("SIGKILL");
    // The users of the killed node are served again before the next one is killed.
    const from = written;
    const isServed = (user: string) =>
      endpoint.accepted(user).some(({ title }) => Number(/\d+$/.exec(String(title))?.[0]) > from);
    await expect.poll(() => users.filter((user) => !isServed(user)), { timeout: 120_000 }).toEqual([]);
  }
  isOver = true;
  await writing;
  const lastOf = (user: string) =>
    endpoint.accepted(user).filter(({ title }) => title === `Order ${written}`).length;
  await expect.poll(() => users.filter((user) => lastOf(user) === 0), { timeout: 120_000 }).toEqual([]);
  for (const user of users)
    for (const { body } of endpoint.accepted(user)) expect(body).toBe(`of ${user} for ${user}`);
  const repeated = users.reduce((sum, user) => sum + lastOf(user) - 1, 0);
  console.log(JSON.stringify({ written, kills: KILLS, accepted: endpoint.accepted().length, repeated }));
});
