/** How long the service is busy in one turn of its event loop, while other clients wait. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { count, createClient, min, sum } from "../../../src/client/client.ts";
import { ROOT } from "../../support/build.ts";
import { testDatabase, until } from "../../support/mongod.ts";
import { testConfig } from "../../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../../support/spawn-service.ts";

interface Row {
  _id: number;
  n: number;
  v?: number;
}

const COUNT = 10_000;
/** The longest turn that a client may have to wait for, in milliseconds of processor time. */
const LONGEST_MS = 50;

/** The longest turn since the last call. */
async function longestTurnMs(service: SpawnedService): Promise<number> {
  const from = service.log.length;
  service.signal("SIGUSR2");
  return until("the length of the longest turn", async () => {
    const line = service.log.slice(from).find((text) => text.startsWith("longest turn: "));
    return line === undefined ? undefined : Number(/[\d.]+/.exec(line)?.[0]);
  });
}

/** A service of its own and its rows, and a client. */
async function setUp() {
  const { client: mongo, db, name: database, uri } = await testDatabase();
  onTestFinished(async () => {
    await mongo.db(`${database}-state`).dropDatabase();
  });
  const rows = db.collection<Row>("rows");
  await rows.insertMany(Array.from({ length: COUNT }, (_, n) => ({ _id: n, n: 1 + ((n * 7_919) % COUNT) })));
  const file = testConfig(uri, database, {
    collections: { rows: { rules: [{ name: "all", anonymous: true }] } },
    auth: { anonymous: true },
  });
  const service = await spawnService({
    // The log reports the port. The type names only the fields that the tests read.
    config: { ...file, log: { level: "info" } } as unknown as ServiceConfig,
    env: { NODE_OPTIONS: `--import=${join(ROOT, "test", "support", "turn-meter.mjs")}` },
  });
  const client = createClient({ url: service.url, WebSocket, logger: false });
  onTestFinished(() => client.close());
  const fence = async () => {
    const { operationTime } = await mongo.db("admin").command({ ping: 1 });
    await client.fence({ $timestamp: { t: operationTime.high >>> 0, i: operationTime.low >>> 0 } });
  };
  return { rows, service, client, fence };
}

test.skipIf(process.platform !== "linux").each([
  ["turns the order around", [{ $set: { n: { $multiply: ["$n", -1] } } }]],
  ["leaves the order", { $inc: { v: 1 } }],
  ["moves each to a place between others", { $bit: { n: { xor: 4_095 } } }],
])(
  "a write of 10,000 documents under a sorted live query that %s holds no turn for 50 ms",
  async (name, update) => {
    const { rows, service, client, fence } = await setUp();
    const query = client.collection<Row>("rows").find().sort("n");
    let changes = 0;
    let lastMs = 0;
    query.subscribe({
      change: ({ type }) => {
        if (type === "snapshot") return;
        changes++;
        lastMs = performance.now();
      },
    });
    await query.snapshot();
    await longestTurnMs(service);
    const startedMs = performance.now();
    await rows.updateMany({}, update);
    await fence();
    const turnMs = await longestTurnMs(service);
    console.log(`${name}: last change after ${Math.round(lastMs - startedMs)} ms, longest turn ${turnMs} ms`);
    expect(changes).toBe(COUNT);
    expect(turnMs).toBeLessThan(LONGEST_MS);
  },
);

test.skipIf(process.platform !== "linux")(
  "a write that moves 10,000 documents between groups holds no turn for 50 ms",
  async () => {
    const { rows, service, client, fence } = await setUp();
    await rows.updateMany({}, [{ $set: { v: { $mod: ["$_id", 5] } } }]);
    const query = client
      .collection<Row>("rows")
      .find()
      .groupBy("v")
      .values({ rows: count(), sum: sum("n"), least: min("n") });
    let messages = 0;
    query.subscribe({
      change: ({ type }) => {
        if (type !== "snapshot") messages++;
      },
    });
    await query.snapshot();
    await fence();
    await longestTurnMs(service);
    messages = 0;
    const startedMs = performance.now();
    await rows.updateMany({}, [{ $set: { v: { $add: [10, { $mod: ["$_id", 7] }] } } }]);
    await fence();
    const turnMs = await longestTurnMs(service);
    const seconds = (performance.now() - startedMs) / 1_000;
    console.log(
      `moves between groups: ${messages} messages for ${COUNT} commits in ${seconds.toFixed(1)} s, longest turn ${turnMs} ms`,
    );
    // Five groups leave and seven come. They are sent about six times in the first second, and then once a second.
    expect(messages).toBeLessThanOrEqual((5 + 7) * (8 + 2 * seconds));
    expect(
      query
        .getState()
        .data.map(({ rows: inGroup }) => inGroup)
        .sort(),
    ).toEqual(Array.from({ length: 7 }, (_, group) => Math.ceil((COUNT - group) / 7)).sort());
    expect(turnMs).toBeLessThan(LONGEST_MS);
  },
);
