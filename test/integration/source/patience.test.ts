/** A server that takes its time: after a long stretch of unwatched writes, one answer of the stream can take minutes. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { startReplicaSet } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { signToken } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

test("[G2] a stream whose every answer takes longer than progressTimeout succeeds in the end", async () => {
  const set = await startReplicaSet({ members: 1 });
  onTestFinished(() => set.stop());
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  const slow = {
    failCommands: ["getMore"],
    appName: "tidewire-stream",
    blockConnection: true,
    blockTimeMS: 1_500,
  };
  await client.db("admin").command({ configureFailPoint: "failCommand", mode: "alwaysOn", data: slow });
  // Comes back only once the stream has been read.
  const { service, url } = await startNode(set.uri, "shop", {
    collections: { things: { rules: [{ name: "all" }] } },
    mongodb: { awaitTime: "100ms", progressTimeout: "1s" },
  });
  await client.db("admin").command({ configureFailPoint: "failCommand", mode: "off" });
  expect(service.readiness().ready).toBe(true);
  const follower = await WsClient.connect(url, { token: await signToken({ sub: "u" }) });
  onTestFinished(() => follower.socket.terminate());
  await follower.ask({ type: "subscribe", id: "a", collection: "things" });
  await client.db("shop").collection<{ _id: number }>("things").insertOne({ _id: 1 });
  expect(await follower.until(({ type }) => type === "added")).toMatchObject({ doc: { _id: 1 } });
});
