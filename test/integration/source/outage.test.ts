/** An outage of MongoDB: clients stay connected, receive errors for requests that need it, and miss nothing. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { QueryFollower } from "../../support/follower.ts";
import { metricOf } from "../../support/metric.ts";
import { startReplicaSet } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { Oracle } from "../../support/oracle.ts";
import { signToken } from "../../support/service.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { WsClient } from "../../support/ws-client.ts";

const PATIENCE = { timeout: 60_000 };

interface Thing {
  _id: number;
  n: number;
}

test.each([
  ["cut", (proxy: TcpProxy) => proxy.cut()],
  ["frozen", (proxy: TcpProxy) => proxy.freeze()],
])(
  "[G2] MongoDB is %s for a while: clients stay connected, readiness reports it, and nothing is lost or repeated",
  async (_name, interrupt) => {
    const set = await startReplicaSet({ members: 1 });
    onTestFinished(() => set.stop());
    const client = await new MongoClient(set.uri).connect();
    onTestFinished(() => client.close());
    const proxy = await TcpProxy.start((await set.primary()).port);
    // Directly, as the set's own configuration names a port that no proxy stands before.
    const uri = `mongodb://127.0.0.1:${proxy.port}/?directConnection=true`;
    const { service, url } = await startNode(uri, "shop", {
      collections: { things: { rules: [{ name: "all" }] }, others: { rules: [{ name: "all" }] } },
      mongodb: { awaitTime: "100ms", progressTimeout: "1s" },
      // Longer than the outage, on whatever machine: what a reset is for is not what is asked here.
      history: { window: "60s" },
    });
    const db = client.db("shop");
    const things = db.collection<Thing>("things");
    await things.insertMany([1, 2, 3].map((_id) => ({ _id, n: 0 })));
    const oracle = new Oracle(client, "shop-state");
    await oracle.learnEpoch();
    const everything = await QueryFollower.start(url, oracle, { collection: "things" });
    const few = await QueryFollower.start(url, oracle, { collection: "things", filter: { n: { $gt: 2 } } });
    const other = await WsClient.connect(url, { token: await signToken({ sub: "u2" }) });
    onTestFinished(() => other.socket.terminate());

    interrupt(proxy);
    await expect.poll(() => service.readiness().status, PATIENCE).toBe("mongodb-unreachable");
    const health = await fetch(`http://127.0.0.1:${service.adminAddress.port}/readyz`);
    expect([health.status, await health.json()]).toMatchObject([503, { status: "mongodb-unreachable" }]);
    // With a connection of their own, the backends go on writing.
    for (let n = 1; n <= 5; n++) await things.updateMany({ _id: { $lte: 3 } }, { $inc: { n: 1 } });
    await things.insertOne({ _id: 4, n: 9 });
    await things.deleteOne({ _id: 1 });
    expect(await other.ask({ type: "subscribe", id: "a", collection: "others" })).toMatchObject({
      type: "error",
      code: "unavailable",
    });
    expect(everything.held.changes).toBe(0);

    await proxy.resume();
    await expect.poll(() => service.readiness().ready, PATIENCE).toBe(true);
    for (const follower of [everything, few]) {
      await follower.equalsFind(db);
      expect(follower.model.closed).toBeUndefined();
      expect(follower.starts, "never reset").toEqual({ snapshot: 1 });
    }
    // Every one of the writes, once: the model client takes nothing that comes twice.
    expect(everything.held.changes).toBe(3 * 5 + 1 + 1);
    expect(await other.ask({ type: "subscribe", id: "a", collection: "others" })).toMatchObject({
      start: "snapshot",
    });
    expect(await metricOf(service, "tidewire_position_lost_total")).toBe(0);
  },
);
