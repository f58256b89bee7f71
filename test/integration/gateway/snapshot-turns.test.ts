/** Users who ask for many slow snapshots, and what the others notice of it. */
import { expect, onTestFinished, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

const COLLECTIONS = { slow: { rules: [{ name: "all" }] }, quick: { rules: [{ name: "all" }] } };
/** Long enough that the reads of a whole flood take minutes, and no test waits for more than two of them. */
const READ_MS = 2_000;
const CONNECTIONS = 20;
const PER_CONNECTION = 4;
const PATIENCE = { timeout: 60_000, interval: 20 };

/** A service with the limits that it has by default, on which every read of the collection `slow` takes `READ_MS`. */
async function start() {
  const started = await startTestService({ collections: COLLECTIONS, limits: { connectionsPerUser: 50 } });
  const { client, db } = started;
  const failPoint = { failCommands: ["find"], namespace: `${db.databaseName}.slow`, blockConnection: true };
  const set = (mode: string, data?: object) =>
    client.db("admin").command({ configureFailPoint: "failCommand", mode, ...data });
  onTestFinished(async () => {
    await set("off");
  });
  await db.collection<{ _id: string }>("quick").insertOne({ _id: "one" });
  // The server's answer counts how often it came to the fail point before.
  const before = await set("alwaysOn", { data: { ...failPoint, blockTimeMS: READ_MS } });
  const countSlowReads = async () => (await set("off"))["count"] - before["count"];
  return { ...started, countSlowReads };
}

const askFor = (client: WsClient, id: string, collection: string, n: number) =>
  client.send({ type: "subscribe", id, collection, filter: { n: { $ne: n } } });

/** One user asks for as many snapshots as so many connections may, each of another live query. */
async function flood(connect: (claims: Record<string, unknown>) => Promise<WsClient>) {
  const clients: WsClient[] = [];
  for (let at = 0; at < CONNECTIONS; at++) {
    const client = await connect({ sub: "busy" });
    clients.push(client);
    for (let n = 0; n < PER_CONNECTION; n++) askFor(client, `${n}`, "slow", at * PER_CONNECTION + n);
  }
  const answered = () =>
    clients.flatMap(({ received }) => received.filter(({ type }) => type === "subscribed")).length;
  return { clients, answered };
}

test("[G6] the snapshot of one user does not wait for the queue of another user who floods the node", async () => {
  const { service, connect } = await start();
  const other = await connect({ sub: "other" });
  const { answered } = await flood(connect);
  const waiting = () => metricOf(service, "tidewire_limit_waiting");
  await expect.poll(waiting, PATIENCE).toBeGreaterThan((CONNECTIONS * PER_CONNECTION) / 2);
  const before = answered();
  const filter = { _id: "one" };
  const answer = await other.ask({ type: "subscribe", id: "a", collection: "quick", filter });
  expect(answer).toMatchObject({ type: "subscribed", start: "snapshot" });
  // By then all of the flood had to be read if the node had one queue; a few reads end while this one is made.
  expect(answered() - before).toBeLessThan((CONNECTIONS * PER_CONNECTION) / 4);
});

test("snapshots that wait when their clients leave are not read", async () => {
  const { service, connect, countSlowReads } = await start();
  const { clients } = await flood(connect);
  await expect.poll(() => metricOf(service, "tidewire_snapshot_reads"), PATIENCE).toBeGreaterThanOrEqual(4);
  for (const { socket } of clients) socket.terminate();
  await expect.poll(() => metricOf(service, "tidewire_snapshot_reads"), PATIENCE).toBe(0);
  const count = await countSlowReads();
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan((CONNECTIONS * PER_CONNECTION) / 4);
  expect(await metricOf(service, "tidewire_limit_waiting")).toBe(0);
});

test("[G6] a read that runs when its only client leaves ends, in the service and on the server", async () => {
  const { service, client, db, connect } = await startTestService({
    collections: COLLECTIONS,
    // Longer than the test waits, so that nothing else ends the read.
    limits: { snapshotTime: "5m" },
  });
  await db.collection("slow").insertOne({ n: 1 });
  const hang = "waitInFindBeforeMakingBatch";
  const data = { nss: `${db.databaseName}.slow`, shouldCheckForInterrupt: true };
  await client.db("admin").command({ configureFailPoint: hang, mode: "alwaysOn", data });
  onTestFinished(async () => {
    await client.db("admin").command({ configureFailPoint: hang, mode: "off" });
  });
  const hanging = async () => {
    const pipeline = [
      { $currentOp: {} },
      { $match: { ns: `${db.databaseName}.slow`, "command.find": "slow", active: true } },
    ];
    return (await client.db("admin").aggregate(pipeline).toArray()).length;
  };
  const one = await connect({ sub: "u1" });
  askFor(one, "a", "slow", 0);
  await expect.poll(hanging, PATIENCE).toBe(1);
  one.socket.terminate();
  await expect.poll(() => metricOf(service, "tidewire_snapshot_reads"), PATIENCE).toBe(0);
  await expect.poll(hanging, PATIENCE).toBe(0);
});
