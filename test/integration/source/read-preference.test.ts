/** [G2, G3] The change stream of a secondary: chosen as MongoDB's drivers choose, and as exact as that of the primary. */
import { type Document, MongoClient, ReadPreference } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { StreamHost } from "../../../src/source/stream-host.ts";
import { QueryFollower } from "../../support/follower.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { type Mongod, type ReplicaSet, startReplicaSet } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { Oracle } from "../../support/oracle.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";
import { PATIENCE, SourceNode } from "../../support/source-node.ts";

interface Thing {
  _id: number;
  v: number;
}

async function startSet(): Promise<{ set: ReplicaSet; client: MongoClient }> {
  const set = await startReplicaSet({ members: 3 });
  onTestFinished(() => set.stop());
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  return { set, client };
}

/** Whether a change stream of the service is open on this member. */
async function serves(member: Mongod): Promise<boolean> {
  const client = new MongoClient(member.uri);
  try {
    const stages = [
      { $currentOp: { idleCursors: true, allUsers: true } },
      { $match: { appName: "tidewire-stream", $or: [{ type: "idleCursor" }, { op: "getmore" }] } },
    ];
    return (await client.db("admin").aggregate(stages).toArray()).length > 0;
  } finally {
    await client.close();
  }
}

const createThings = (client: MongoClient) =>
  client.db("shop").createCollection("things", { changeStreamPreAndPostImages: { enabled: true } });

const countUp = (client: MongoClient, ids: readonly number[]) =>
  Promise.all(
    ids.map((_id) =>
      client
        .db("shop")
        .collection<Thing>("things")
        .updateOne({ _id }, { $inc: { v: 1 } }, { upsert: true }),
    ),
  );

test.runIf(KEEPS_IMAGES)(
  "secondaryPreferred reads from a secondary, and from another member at the same position after that one was killed",
  async () => {
    const { set, client } = await startSet();
    await createThings(client);
    const readPreference = new ReadPreference("secondaryPreferred");
    const options = { client, uri: set.uri, database: "shop", readPreference };
    const node = await SourceNode.start(options);
    const primary = await set.primary();
    expect(await serves(primary)).toBe(false);
    const used = async () => {
      for (const member of await set.secondaries()) if (await serves(member)) return member;
      return undefined;
    };
    await expect.poll(used, PATIENCE).toBeDefined();
    await countUp(client, [1, 2, 3]);
    await node.equalsFind(client, "shop");
    await (await used())?.kill();
    for (let n = 0; n < 20; n++) await countUp(client, [1, 2, 3, 4]);
    await node.equalsFind(client, "shop");
  },
);

/** Gives one secondary a tag. */
async function tagOne(set: ReplicaSet, client: MongoClient): Promise<Mongod> {
  const [tagged] = await set.secondaries();
  if (tagged === undefined) throw new Error("no secondary");
  const { config } = await client.db("admin").command({ replSetGetConfig: 1 });
  const members = config.members.map((member: Document) =>
    member["host"] === tagged.host ? { ...member, priority: 0, tags: { use: "streams" } } : member,
  );
  await client.db("admin").command({ replSetReconfig: { ...config, version: config.version + 1, members } });
  return tagged;
}

test.runIf(KEEPS_IMAGES)(
  "the stream of a tagged secondary joins snapshots of the primary without a gap or a repetition",
  async () => {
    const { set, client } = await startSet();
    await createThings(client);
    const tagged = await tagOne(set, client);
    const { url } = await startNode(set.uri, "shop", {
      collections: { things: { rules: [{ name: "all" }] } },
      mongodb: { stream: { readPreference: "secondary", tags: [{ use: "streams" }] } },
    });
    await expect.poll(() => serves(tagged), PATIENCE).toBe(true);
    const oracle = new Oracle(client, "shop-state");
    await oracle.learnEpoch();
    let isWriting = true;
    const writing = (async () => {
      while (isWriting) await countUp(client, [1, 2, 3, 4, 5]);
    })();
    const followers: QueryFollower[] = [];
    for (let n = 0; n < 10; n++) {
      const filter = { _id: { $gt: n % 5 } };
      followers.push(await QueryFollower.start(url, oracle, { collection: "things", filter }));
    }
    isWriting = false;
    await writing;
    for (const follower of followers) {
      await follower.equalsFind(client.db("shop"));
      expect(follower.starts, "never reset").toEqual({ snapshot: 1 });
    }
  },
);

test("a stream keeps its client while the driver chooses other members for further streams", async () => {
  const { set } = await startSet();
  const host = new StreamHost(set.uri, {}, new ReadPreference("nearest"), guardParts(), () => {});
  onTestFinished(() => host.close());
  const first = await host.access();
  const idOf = async () => (await first.db("admin").command({ hello: 1 }))["connectionId"];
  const connection = await idOf();
  const chosen = new Set([first]);
  await expect.poll(async () => chosen.add(await host.access()).size, PATIENCE).toBeGreaterThan(1);
  expect(await idOf(), "the connection that streams of the first client use").toBe(connection);
});

/** Stops and continues the application of the oplog on a member, which goes on answering reads. */
async function setReplication(member: Mongod, mode: "off" | "alwaysOn"): Promise<void> {
  const client = new MongoClient(member.uri);
  try {
    await client.db("admin").command({ configureFailPoint: "rsSyncApplyStop", mode });
  } finally {
    await client.close();
  }
}

test.runIf(KEEPS_IMAGES).for([["secondaryPreferred"], ["secondary"]] as const)(
  "with %s, a node notices that its member does not replicate, says so, and loses nothing",
  async ([mode]) => {
    const { set, client } = await startSet();
    await createThings(client);
    const tagged = await tagOne(set, client);
    const readPreference = new ReadPreference(mode, [{ use: "streams" }]);
    const options = { client, uri: set.uri, database: "shop", readPreference, staleMs: 3_000 };
    const node = await SourceNode.start(options);
    await expect.poll(() => serves(tagged), PATIENCE).toBe(true);
    await countUp(client, [1, 2]);
    await node.equalsFind(client, "shop");
    await setReplication(tagged, "alwaysOn");
    await countUp(client, [1, 2, 3]);
    const { streamErrors } = node.metrics;
    const errors = async () => (await streamErrors.get()).values.reduce((sum, { value }) => sum + value, 0);
    await expect.poll(errors, PATIENCE).toBeGreaterThan(0);
    if (mode === "secondary") {
      await expect.poll(() => node.source.down?.reason, PATIENCE).toBe("stale-member");
      await setReplication(tagged, "off");
    } else await expect.poll(async () => serves(await set.primary()), PATIENCE).toBe(true);
    await countUp(client, [1, 2, 3]);
    await node.equalsFind(client, "shop");
    await setReplication(tagged, "off");
  },
);
