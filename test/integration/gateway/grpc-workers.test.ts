/** Several processes behind one port for gRPC. */
import { expect, test } from "vitest";
import { follow, grpcClient } from "../../support/grpc-client.ts";
import { testDatabase } from "../../support/mongod.ts";
import { testConfig } from "../../support/service.ts";
import { scrape, spawnWorkers } from "../../support/worker-fleet.ts";

test("workers serve the streams of the port that the primary owns, and fences on their channels", async () => {
  const { uri, name, db, client: mongo } = await testDatabase();
  const collections = { notes: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };
  const config = testConfig(uri, name, { collections, server: { grpc: { port: 0 } } });
  const { service } = await spawnWorkers(config, 2);
  const grpcAddress = { host: "127.0.0.1", port: Number(service.listening.grpcPort) };
  // A client has a channel of its own.
  const clients = [1, 2, 3, 4].map(() => grpcClient({ grpcAddress }, { sub: "ada" }));
  const streams = clients.map((client) => follow(client, { collection: "notes" }));
  for (const stream of streams) await stream.until("snapshot");
  await db.collection<{ owner: string }>("notes").insertOne({ owner: "ada" });
  const { operationTime } = await mongo.db("admin").command({ ping: 1 });
  for (const [index, stream] of streams.entries()) {
    const { connection } = await stream.until("welcome");
    const { t, i } = operationTime;
    await clients[index]?.fence({ connection, operationTime: { t, i }, id: "mine" });
    await stream.until("fenced");
    expect(stream.messages.map(({ case: kind }) => kind)).toContain("added");
  }
  const nodes = new Set(await Promise.all(streams.map(async (one) => (await one.until("welcome")).node)));
  expect(nodes.size).toBe(2);
  expect(await scrape(service, "tidewire_connections")).toBe(4);
});
