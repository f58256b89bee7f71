/** The service is killed while streams, polls and Socket.IO go on: by the letter of the protocol they hold what `find` gives. */
import { randomInt } from "node:crypto";
import { EventSource } from "eventsource";
import { expect, onTestFinished, test } from "vitest";
import { ask, urlOf } from "../support/http-client.ts";
import {
  type FollowOptions,
  followByPolls,
  followBySocketIo,
  MessageFollower,
} from "../support/message-follower.ts";
import { testDatabase } from "../support/mongod.ts";
import { Oracle } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { RandomWriter } from "../support/random-writer.ts";
import { signToken, testConfig } from "../support/service.ts";
import { type ServiceConfig, spawnService } from "../support/spawn-service.ts";

const RULE = {
  name: "owner",
  filter: { owner: "%%user.sub" },
  fields: { exclude: ["secret", "meta.hidden"] },
};
const KILLS = 3;
const WRITES_BETWEEN_KILLS = 250;
const PATIENCE = { timeout: 60_000, interval: 20 };

const TYPES = ["subscribed", "snapshot", "added", "changed", "removed", "watermark", "reset", "unsubscribed"];

/** As a page does it: a key in the URL, and the rest is the browser's business. */
async function followByEventSource({
  oracle,
  base,
  collection,
  token,
}: FollowOptions): Promise<MessageFollower> {
  const { body } = await ask("POST", `${base}/v1/key`, { Authorization: `Bearer ${token}` });
  const url = urlOf(base, "/v1/sse", { collection, key: String(body["key"]) });
  const source = new EventSource(url);
  const follower = new MessageFollower(oracle);
  onTestFinished(() => source.close());
  for (const type of TYPES) source.addEventListener(type, ({ data }) => follower.take(JSON.parse(data)));
  source.addEventListener("error", () => {
    if (source.readyState === source.CLOSED) follower.faults.push("the EventSource has given up");
  });
  return follower;
}

test.each([
  ["the history", "5m"],
  ["the oplog", "0s"],
])(
  "[G1] [G2] a stream, a poll and Socket.IO miss nothing and get nothing twice when they come back out of %s",
  async (name, window) => {
    const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
    console.log(`${name}: seed ${seed}`);
    const { client, db, name: database, uri } = await testDatabase();
    const collections = { things: { rules: [RULE] } };
    const server = { sseRetry: "100ms", heartbeat: "1s", socketio: true };
    const limits = { pollBytes: "4KiB", snapshotBatchBytes: "2KiB" };
    const file = testConfig(uri, database, { collections, server, limits, history: { window } });
    // The log reports the port.
    const config = { ...file, log: { level: "info" } };
    // The file is one configuration; its type only says what the tests look at.
    const service = await spawnService({ config: config as unknown as ServiceConfig });
    const oracle = new Oracle(client, `${database}-state`);
    await expect
      .poll(
        () =>
          oracle.learnEpoch().then(
            () => true,
            () => false,
          ),
        PATIENCE,
      )
      .toBe(true);
    const token = await signToken({ sub: "u1" });
    const options = { oracle, base: service.url, collection: "things", token };
    await expect.poll(async () => (await ask("GET", `${service.url}/readyz`)).status, PATIENCE).toBe(200);
    const followers = [await followByEventSource(options), followByPolls(options), followBySocketIo(options)];
    // A key is spent by then, and repeated only by who has heard something.
    await expect.poll(() => followers.every(({ starts }) => starts.length > 0), PATIENCE).toBe(true);
    const writer = new RandomWriter(client, db, "things", new Random(seed));
    for (let kill = 0; kill < KILLS; kill++) {
      const writing = writer.write(WRITES_BETWEEN_KILLS);
      const starts = followers.map((follower) => follower.starts.length);
      await service.restart("SIGKILL");
      await writing;
      await expect
        .poll(() => followers.every((follower, index) => follower.starts.length > starts[index]!), PATIENCE)
        .toBe(true);
    }
    await writer.write(WRITES_BETWEEN_KILLS);
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    const query = {
      database,
      collection: "things",
      filter: { owner: "u1" },
      projections: [{ secret: 0, "meta.hidden": 0 }],
    };
    for (const follower of followers) {
      await follower.equalsFind(query, operationTime.toBigInt());
      const { held, starts } = follower;
      // The first one, and those that broke off inside it.
      expect(starts.filter((start) => start !== "resumed" && start !== "snapshot")).toEqual([]);
      expect(starts.filter((start) => start === "resumed").length).toBeGreaterThanOrEqual(KILLS - 1);
      expect(held.changes).toBeGreaterThan(50);
    }
  },
);
