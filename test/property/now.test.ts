/**
 * Random rules with `%%now`, with the clock as an argument: at each step clients hold what the server's own `find`
 * gives for the time of the step, are sent nothing that its filter does not match, and come back exactly, over any
 * number of steps.
 */
import assert from "node:assert/strict";
import { BSON, type Db, type Document, type MongoClient } from "mongodb";
import { expect, test } from "vitest";
import { Collections, Limits } from "../../src/config/config-schema.ts";
import { Account } from "../../src/feed/account.ts";
import type { Delivery } from "../../src/feed/delivery.ts";
import type { Feed } from "../../src/feed/feed.ts";
import { canMove } from "../../src/feed/grant-diff.ts";
import { FeedLimits } from "../../src/feed/options.ts";
import { toBson } from "../../src/match/bson-value.ts";
import { compileFilter } from "../../src/match/compile-filter.ts";
import { filterToBson } from "../../src/match/to-mongo.ts";
import { authorize, type EffectiveQuery, type QueryRequest } from "../../src/rules/authorize.ts";
import { compileRules, type RuleSet } from "../../src/rules/compile-rules.ts";
import { startFeed } from "../support/feed-harness.ts";
import { Random } from "../support/random.ts";
import { headCursorOf, type Message, Recorder, terms } from "../support/recorder.ts";
import { KEEPS_IMAGES } from "../support/server-features.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const STEP_MS = 1_000;
const BASE_MS = Date.parse("2026-03-01T12:00:00Z");
const ROUNDS = 25;
const seed = startSeed("now");

const NOW = "%%now";

function randomFilter(random: Random, depth = 0): object {
  const compare = () => ({
    [random.pick(["from", "until", "d.at"])]: { [random.pick(["$gt", "$gte", "$lt", "$lte"])]: NOW },
  });
  if (depth > 1) return compare();
  switch (random.int(0, 6)) {
    case 0:
      return { from: { $lte: NOW }, until: { $gt: NOW } };
    case 1:
      return { $or: [randomFilter(random, depth + 1), { n: { $gt: 7 } }] };
    case 2:
      return { $nor: [randomFilter(random, depth + 1)] };
    case 3:
      return { $and: [randomFilter(random, depth + 1), randomFilter(random, depth + 1)] };
    case 4:
      return { until: { $not: { $lte: NOW } } };
    case 5:
      return { from: { $in: [NOW, { $date: new Date(BASE_MS).toISOString() }] } };
    default:
      return compare();
  }
}

const REQUESTS: readonly Partial<QueryRequest>[] = [
  {},
  { documents: "delta" },
  { fields: ["n"] },
  { filter: { n: { $lt: 6 } } },
  { sort: [["n", 1]], limit: 3 },
  { sort: [["n", -1]], limit: 4, documents: "delta" },
  { sort: [["n", 1]] },
];

/** A date near the steps that the test goes through, or none, or several. */
function randomDate(random: Random): unknown {
  const one = () => new Date(BASE_MS + random.int(-3, 2 * ROUNDS) * 500);
  if (random.chance(0.08)) return null;
  return random.chance(0.1) ? [one(), one()] : one();
}

async function write(db: Db, random: Random): Promise<void> {
  const things = db.collection<{ _id: number }>("things");
  const _id = random.int(1, 14);
  const document = {
    n: random.int(0, 9),
    from: randomDate(random),
    until: randomDate(random),
    d: { at: randomDate(random) },
    hidden: random.int(0, 3),
  };
  if (random.chance(0.15)) await things.deleteOne({ _id });
  else if (random.chance(0.4)) await things.replaceOne({ _id }, document, { upsert: true });
  else
    await things.updateOne(
      { _id },
      { $set: random.chance(0.5) ? { n: document.n } : { until: document.until } },
    );
}

/** One client: what it holds, and by which live query. */
class Client {
  readonly request: QueryRequest;
  sink = new Recorder();
  query: EffectiveQuery;
  delivery: Delivery | undefined;
  /** Live queries that it was sent changes of, since the last look. */
  #seen = 0;

  constructor(request: QueryRequest, query: EffectiveQuery) {
    this.request = request;
    this.query = query;
  }

  /** Everything that was sent since the last look is of documents that the rule of now shows. */
  check(): void {
    const shows = compileFilter(this.query.filter);
    const isWhole = this.request.fields === undefined;
    for (const message of this.sink.messages.slice(this.#seen)) {
      const doc = message["doc"];
      if (doc === undefined || !isWhole) continue;
      const bytes = BSON.serialize(BSON.EJSON.deserialize(doc as BSON.Document, { relaxed: false }));
      assert(shows(bytes), `${message.type} of what is out of sight: ${JSON.stringify(message)}`);
    }
    this.look();
  }

  look(): void {
    this.#seen = this.sink.messages.length;
  }

  /** Another connection, with what was held. */
  comeBack(): void {
    const old = this.sink;
    this.sink = new Recorder();
    for (const [key, doc] of old.state) this.sink.state.set(key, doc);
    this.sink.order = [...old.order];
    this.sink.cursor = old.cursor;
    this.#seen = 0;
  }
}

class World {
  readonly feed: Feed;
  readonly client: MongoClient;
  readonly db: Db;
  readonly rules: RuleSet;
  readonly account = new Account(FeedLimits.parse({}), () => {});
  nowMs = BASE_MS;

  constructor(started: Awaited<ReturnType<typeof startFeed>>, filter: object) {
    this.feed = started.feed;
    this.client = started.client;
    this.db = started.db;
    this.rules = compileRules({
      mongodb: { database: started.name },
      rules: { nowStepMs: STEP_MS },
      limits: Limits.parse({}),
      collections: Collections.parse({
        things: { rules: [{ name: "now", filter, fields: { exclude: ["hidden"] } }] },
      }),
    });
  }

  judge(request: QueryRequest, nowMs = this.nowMs): EffectiveQuery {
    // The clock shows more than the step: rounding is the rules' own.
    return authorize(this.rules, { claims: {} }, request, nowMs + 777);
  }

  join(client: Client): void {
    client.delivery = this.feed.subscribe(client.query, client.sink, terms(this.account));
  }

  async start(client: Client): Promise<void> {
    this.join(client);
    await client.delivery?.open({ snapshot: true, resumeFrom: null, refused: null });
    client.delivery?.run();
  }

  /** The service's work at a step, all in one turn. */
  step(clients: readonly Client[]): void {
    for (const client of clients) {
      const previous = client.delivery;
      if (previous === undefined) continue;
      client.check();
      const query = this.judge(client.request);
      if (query.key === client.query.key) continue;
      this.feed.unsubscribe(previous);
      client.query = query;
      this.join(client);
      const { delivery } = client;
      assert(delivery !== undefined);
      if (canMove(previous.liveQuery, delivery.liveQuery)) {
        delivery.openMoved(previous.liveQuery, this.feed.cursors.grantPoint(null));
      } else {
        client.sink.reset("rights-changed");
        delivery.reopen("rights-changed");
      }
      delivery.run();
    }
  }

  leave(client: Client): void {
    if (client.delivery !== undefined) this.feed.unsubscribe(client.delivery);
    client.delivery = undefined;
  }

  /** @returns How it went on. */
  async resume(client: Client): Promise<string> {
    const held = client.query;
    client.comeBack();
    client.query = this.judge(client.request);
    this.join(client);
    const position = this.feed.timeline.codec.decode(client.sink.cursor);
    assert(typeof position !== "string");
    const isSame = held.key === client.query.key;
    const started = await client.delivery?.open({
      snapshot: true,
      resumeFrom: position,
      refused: null,
      ...(isSame ? {} : { heldQuery: held }),
    });
    if (started?.start === "reset") client.sink.reset("history-lost");
    client.delivery?.run();
    return `${started?.start}${isSame ? "" : ", over a step"}`;
  }

  /** Everything written so far has been handed on to everyone. */
  async settled(clients: readonly Client[]): Promise<void> {
    const { operationTime } = await this.client.db("admin").command({ ping: 1 });
    await this.feed.timeline.reached(operationTime.toBigInt(), 120_000);
    await expect
      .poll(() => clients.every(({ delivery }) => delivery?.isLive !== false), { timeout: 60_000 })
      .toBe(true);
  }

  async expectFound({ request, query, sink }: Client, where: string): Promise<void> {
    const things = this.db.collection(query.collectionName);
    const sort = new Map((query.sort ?? []).map(([path, order]) => [path, order]));
    if (query.sort !== null) sort.set("_id", 1);
    const shown = request.fields === undefined ? { hidden: 0 } : { n: 1 };
    const cursor = things
      .find(toBson(filterToBson(query.filter)) as Document, { projection: shown })
      .sort(sort);
    const found = await (query.limit === null ? cursor : cursor.limit(query.limit)).toArray();
    const docs = BSON.EJSON.serialize(found, { relaxed: true }) as unknown as { _id: number }[];
    expect(sink.errors, where).toEqual([]);
    expect(sink.state, where).toEqual(new Map(docs.map((doc) => [JSON.stringify(doc._id), doc])));
    if (query.sort !== null) expect(sink.order, where).toEqual(docs.map((doc) => JSON.stringify(doc._id)));
  }
}

const resets = (messages: readonly Message[]) => messages.filter(({ type }) => type === "reset").length;

test.each(Array.from({ length: 4 * FUZZ_FACTOR }, (_, index) => seed + index))(
  "[G1] clients of rules that depend on the time hold what find gives at each step, and come back exactly (seed %i)",
  async (ownSeed) => {
    const random = new Random(ownSeed);
    const filter = randomFilter(random);
    const started = await startFeed({ images: random.chance(0.7) && KEEPS_IMAGES });
    const world = new World(started, filter);
    for (let n = 0; n < 30; n++) await write(world.db, random);
    const clients = REQUESTS.map((more) => {
      const request: QueryRequest = { collection: "things", ...more };
      return new Client(request, world.judge(request));
    });
    await world.settled([]);
    for (const client of clients) await world.start(client);
    await world.settled(clients);
    const ways = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      const where = `seed ${ownSeed}, round ${round}, ${JSON.stringify(filter)}`;
      const isAway = (client: Client) => client.delivery === undefined;
      for (let n = random.int(0, 6); n > 0; n--) await write(world.db, random);
      await world.settled(clients);
      for (const client of clients) {
        if (isAway(client)) continue;
        client.check();
        await world.expectFound(client, where);
        // The state is that of the cursor only where a cursor came with it; a real client has watermarks.
        if (random.chance(0.2)) {
          client.sink.cursor = headCursorOf(world.feed);
          world.leave(client);
        }
      }
      if (random.chance(0.7)) {
        world.nowMs += STEP_MS * random.int(1, 3);
        world.step(clients);
        // Writes while the difference is read.
        if (random.chance(0.5)) await write(world.db, random);
      }
      for (const client of clients) {
        if (!isAway(client) || random.chance(0.5)) continue;
        for (let n = random.int(0, 2); n > 0; n--) await write(world.db, random);
        await world.settled(clients);
        const way = await world.resume(client);
        ways.set(way, (ways.get(way) ?? 0) + 1);
      }
      await world.settled(clients);
      for (const client of clients) if (!isAway(client)) await world.expectFound(client, where);
    }
    console.log(`now: seed ${ownSeed}, came back: ${JSON.stringify(Object.fromEntries(ways))}`);
    for (const client of clients)
      if (client.request.sort === undefined) expect(resets(client.sink.messages)).toBe(0);
  },
);
