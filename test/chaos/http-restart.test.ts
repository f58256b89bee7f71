/** The service is killed while streams and polls go on: by the letter of the protocol they hold what `find` gives. */
import { randomInt } from "node:crypto";
import { EventSource } from "eventsource";
import { expect, onTestFinished, test } from "vitest";
import type { ServerMessage } from "../../src/protocol/messages.ts";
import { HeldQuery } from "../support/held-query.ts";
import { ask, type PollAnswer, urlOf } from "../support/http-client.ts";
import { testDatabase } from "../support/mongod.ts";
import { differencesOf, Oracle } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { RandomWriter } from "../support/random-writer.ts";
import { signToken, testConfig } from "../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../support/spawn-service.ts";

const RULE = {
  name: "owner",
  filter: { owner: "%%user.sub" },
  fields: { exclude: ["secret", "meta.hidden"] },
};
const KILLS = 3;
const WRITES_BETWEEN_KILLS = 250;
const PATIENCE = { timeout: 60_000, interval: 20 };

/** What a client does with messages, whatever brought them. */
class Follower {
  readonly held: HeldQuery;
  readonly starts: string[] = [];
  readonly faults: string[] = [];

  constructor(oracle: Oracle) {
    this.held = new HeldQuery("json", (cursor) => oracle.decode(cursor));
  }

  start(start: string): void {
    this.starts.push(start);
    if (start === "resumed") this.held.disconnected();
    else this.held.expectSnapshot();
  }

  take(message: ServerMessage): void {
    try {
      if (message.type === "subscribed") this.start(message.start);
      else if (message.type === "reset") this.held.expectSnapshot();
      else this.held.take(message);
    } catch (error) {
      this.faults.push(`${error}: ${JSON.stringify(message).slice(0, 200)}`);
    }
  }
}

interface World {
  readonly oracle: Oracle;
  readonly service: SpawnedService;
  readonly token: string;
}

const TYPES = ["subscribed", "snapshot", "added", "changed", "removed", "watermark", "reset", "unsubscribed"];

/** As a page does it: a key in the URL, and the rest is the browser's business. */
async function followByEventSource({ oracle, service, token }: World): Promise<Follower> {
  const { body } = await ask("POST", `${service.url}/v1/key`, { Authorization: `Bearer ${token}` });
  const url = urlOf(service.url, "/v1/sse", { collection: "things", key: String(body["key"]) });
  const source = new EventSource(url);
  const follower = new Follower(oracle);
  onTestFinished(() => source.close());
  for (const type of TYPES) source.addEventListener(type, ({ data }) => follower.take(JSON.parse(data)));
  source.addEventListener("error", () => {
    if (source.readyState === source.CLOSED) follower.faults.push("the EventSource has given up");
  });
  return follower;
}

function followByPolls({ oracle, service, token }: World): Follower {
  const follower = new Follower(oracle);
  let stopped = false;
  onTestFinished(() => {
    stopped = true;
  });
  const next = async (place: object) => {
    const url = urlOf(service.url, "/v1/poll", { collection: "things", wait: 1, ...place });
    const { status, text } = await ask("GET", url, { Authorization: `Bearer ${token}` });
    if (status !== 200) throw new Error(text);
    // An answer that was cut off is none: it does not parse.
    return JSON.parse(text) as PollAnswer;
  };
  const run = async () => {
    for (let place = {}; !stopped; ) {
      const answer = await next(place).catch(() => null);
      if (answer === null) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const { start, messages, cursor, ticket } = answer;
      follower.start(start);
      for (const message of messages) follower.take(message);
      follower.take({ type: "watermark", cursor });
      place = { cursor, ticket };
    }
  };
  void run();
  return follower;
}

test.each([
  ["the history", "5m"],
  ["the oplog", "0s"],
])(
  "[G1] [G2] a stream and a poll miss nothing and get nothing twice when they come back out of %s",
  async (name, window) => {
    const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
    console.log(`${name}: seed ${seed}`);
    const { client, db, name: database, uri } = await testDatabase();
    const collections = { things: { rules: [RULE] } };
    const server = { sseRetry: "100ms", heartbeat: "1s" };
    const limits = { pollBytes: "4KiB", snapshotBatchBytes: "2KiB" };
    const file = testConfig(uri, database, { collections, server, limits, history: { window } });
    // Where it listens is told by its log.
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
    const world = { oracle, service, token: await signToken({ sub: "u1" }) };
    await expect.poll(async () => (await ask("GET", `${service.url}/readyz`)).status, PATIENCE).toBe(200);
    const followers = [await followByEventSource(world), followByPolls(world)];
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
    for (const { held, faults, starts } of followers) {
      await expect
        .poll(
          () => held.cursor !== "" && oracle.decode(held.cursor).clusterTime >= operationTime.toBigInt(),
          PATIENCE,
        )
        .toBe(true);
      const found = await oracle.find(query, held.cursor, "json");
      expect(differencesOf(held.documents, found ?? new Map())).toEqual([]);
      expect(faults).toEqual([]);
      // The first one, and those that broke off inside it.
      expect(starts.filter((start) => start !== "resumed" && start !== "snapshot")).toEqual([]);
      expect(starts.filter((start) => start === "resumed").length).toBeGreaterThanOrEqual(KILLS - 1);
      expect(held.changes).toBeGreaterThan(50);
    }
  },
);
