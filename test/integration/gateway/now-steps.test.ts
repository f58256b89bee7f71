/** Rules that use `%%now`: what ran out is taken away at the next step, and what has begun comes, without a reset. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

/** A busy machine needs up to seconds for what a test does within one step. */
const STEP_MS = 4_000;

const COLLECTIONS = {
  /** Shown until they run out. */
  offers: { collection: "things", rules: [{ name: "valid", filter: { expiresAt: { $gt: "%%now" } } }] },
  /** Shown from when they are published. */
  posts: { collection: "things", rules: [{ name: "out", filter: { publishAt: { $lte: "%%now" } } }] },
  /** By memberships that run out. */
  rooms: {
    collection: "things",
    lookups: {
      mine: { collection: "members", filter: { user: "%%user.sub", until: { $gt: "%%now" } }, value: "room" },
    },
    rules: [{ name: "member", filter: { room: { $in: "%%lookup.mine" } } }],
  },
  all: { collection: "things", rules: [{ name: "all" }] },
};

interface Thing {
  _id: string;
  n?: number;
  room?: string;
  expiresAt?: Date;
  publishAt?: Date;
}

async function start(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    rules: { nowStep: `${STEP_MS}ms` },
    history: { window: "5m" },
    ...options,
  });
  const things = started.db.collection<Thing>("things");
  const members = started.db.collection<{ user: string; room: string; until: Date }>("members");
  return { ...started, things, members };
}

/** The step after the one at hand. */
const stepAfter = () => (Math.floor(Date.now() / STEP_MS) + 1) * STEP_MS;

const sleepUntil = (ms: number) =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, ms - Date.now())));

/** Early in a step, so that what a test does before the next one is done by then. */
async function earlyInStep() {
  if (Date.now() % STEP_MS > STEP_MS / 4) await sleepUntil(stepAfter() + 50);
}

/**
 * Does work that must end before the next step. On a machine that is too busy for that, it is repeated.
 * @param work Takes the time of the step. It must be possible more than once.
 */
async function beforeStep<T>(work: (step: Date) => Promise<T>): Promise<T> {
  for (;;) {
    await earlyInStep();
    const step = new Date(stepAfter());
    const done = await work(step);
    if (Date.now() < step.getTime()) return done;
  }
}

/** Settles when a client that follows `offers` has seen so many steps from message number `from` on. */
async function untilSteps(watcher: WsClient, from: number, count: number): Promise<void> {
  let next = from;
  for (let seen = 0; seen < count; seen++) {
    const isStep = ({ type, id, start: how }: Received) =>
      type === "subscribed" && id === "offers" && how !== "snapshot";
    const moved = await watcher.until(isStep, next);
    if (moved === undefined) throw new Error(`closed: ${JSON.stringify(watcher.closed)}`);
    next = watcher.received.indexOf(moved) + 1;
  }
}

const brief = ({ type, start: how, cause, doc, _id }: Received) => {
  const document = doc as { _id: string } | undefined;
  return [type, how, cause, document?._id ?? _id].filter((part) => part !== undefined);
};

/** The messages from number `from` on, up to the end of the first move. */
async function untilMoved(client: WsClient, from: number): Promise<unknown[]> {
  await client.until(({ type, start: how }) => type === "subscribed" && how !== "snapshot", from);
  await client.until(({ type }) => type === "watermark", from);
  return client.received
    .slice(from)
    .filter(({ type }) => type !== "watermark" && type !== "fenced")
    .map(brief);
}

test("a step of %%now removes a document that has run out, by moved, and sends no later change of it", async () => {
  const { connect, things, now, service } = await start();
  await earlyInStep();
  const expiresAt = new Date(stepAfter());
  await things.insertMany([
    { _id: "short", expiresAt, n: 1 },
    { _id: "long", expiresAt: new Date(Date.now() + 3_600_000), n: 1 },
  ]);
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "offers" });
  await client.until(({ type }) => type === "snapshot");
  expect(client.received.find(({ type }) => type === "snapshot")?.["docs"]).toHaveLength(2);
  const from = client.received.length;
  expect(await untilMoved(client, from)).toEqual([
    ["subscribed", "moved"],
    ["removed", "grant", "short"],
  ]);
  expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime());
  const after = client.received.length;
  await things.updateMany({}, { $inc: { n: 1 } });
  await client.fence(await now());
  expect(
    client.received
      .slice(after)
      .filter(({ type }) => type === "changed")
      .map(brief),
  ).toEqual([["changed", "update", "long"]]);
  expect(await metricOf(service, "tidewire_now_moves_total")).toBeGreaterThan(0);
});

test("a step of %%now adds a document that has begun, in a window with its position, and sends nothing from before", async () => {
  const { connect, things, now } = await start();
  await earlyInStep();
  const publishAt = new Date(stepAfter());
  await things.insertMany([
    { _id: "old", publishAt: new Date(0), n: 1 },
    { _id: "new", publishAt, n: 0 },
  ]);
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "posts", sort: [["n", -1]], limit: 5 });
  await client.ask({ type: "subscribe", id: "b", collection: "posts" });
  await client.fence(await now());
  await things.updateOne({ _id: "new" }, { $set: { n: 2 } });
  const from = client.received.length;
  await client.until(({ type, query, doc }) => {
    const isNew = (doc as { _id?: string } | undefined)?._id === "new";
    return type === "added" && isNew && query !== undefined;
  }, from);
  await client.until(({ type }) => type === "watermark", from);
  const told = client.received.slice(from).filter(({ type }) => type !== "fenced" && type !== "watermark");
  expect(told.filter(({ type }) => type === "added")).toMatchObject([
    { cause: "grant", doc: { _id: "new", n: 2 } },
    { cause: "grant", doc: { _id: "new", n: 2 } },
  ]);
  expect(told.filter(({ type }) => type === "subscribed").map((message) => message["start"])).toEqual([
    "moved",
    "moved",
  ]);
  expect(told.filter(({ before }) => before !== undefined)).toMatchObject([{ before: "old" }]);
});

test("ids that share a live query move on together: one difference, nothing twice", async () => {
  const { connect, things, now } = await start();
  await earlyInStep();
  await things.insertOne({ _id: "short", expiresAt: new Date(stepAfter()) });
  const client = await connect({ sub: "u1" });
  for (const id of ["a", "b"]) await client.ask({ type: "subscribe", id, collection: "offers" });
  await client.fence(await now());
  const from = client.received.length;
  expect(await untilMoved(client, from)).toEqual([
    ["subscribed", "moved"],
    ["subscribed", "shared"],
    ["removed", "grant", "short"],
  ]);
});

test("a step of %%now sends nothing to a subscription of the same connection whose rule does not use it", async () => {
  const { connect, things, now } = await start();
  await things.insertOne({ _id: "short", expiresAt: new Date(stepAfter()) });
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "all" });
  await client.fence(await now());
  const from = client.received.length;
  await sleepUntil(stepAfter() + 200);
  await client.fence(await now());
  expect(client.received.slice(from).map(({ type }) => type)).toEqual(["fenced"]);
});

test("[G5] a step of %%now moves a subscription whose live query began under a rule that does not use it", async () => {
  const { connect, things, now } = await start();
  await earlyInStep();
  const expiresAt = new Date(stepAfter());
  const rounded = new Date(expiresAt.getTime() - STEP_MS);
  await things.insertOne({ _id: "short", expiresAt });
  const client = await connect({ sub: "u1" });
  const filter = { expiresAt: { $gt: { $date: rounded.toISOString() } } };
  await client.ask({ type: "subscribe", id: "fixed", collection: "all", filter });
  const shared = await client.ask({ type: "subscribe", id: "a", collection: "offers" });
  expect(shared).toMatchObject({ start: "shared" });
  client.send({ type: "unsubscribe", id: "fixed" });
  await client.fence(await now());
  const from = client.received.length;
  expect(await untilMoved(client, from)).toEqual([
    ["subscribed", "moved"],
    ["removed", "grant", "short"],
  ]);
});

test("a membership that runs out withdraws its documents at the step, without silence before", async () => {
  const { connect, things, members, now } = await start();
  await earlyInStep();
  await members.insertMany([
    { user: "u1", room: "a", until: new Date(stepAfter()) },
    { user: "u1", room: "b", until: new Date(Date.now() + 3_600_000) },
  ]);
  await things.insertMany([
    { _id: "in a", room: "a" },
    { _id: "in b", room: "b" },
  ]);
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "rooms" });
  await client.fence(await now());
  const from = client.received.length;
  expect(await untilMoved(client, from)).toEqual([
    ["subscribed", "moved"],
    ["removed", "grant", "in a"],
  ]);
  await things.insertMany([
    { _id: "more in a", room: "a" },
    { _id: "more in b", room: "b" },
  ]);
  await client.fence(await now());
  expect(
    client.received
      .slice(from)
      .filter(({ type }) => type === "added")
      .map(brief),
  ).toEqual([["added", "insert", "more in b"]]);
});

test.each([
  ["a result", {}],
  ["a window", { sort: [["n", 1]], limit: 3 }],
  ["deltas", { documents: "delta" }],
])(
  "a client that comes back after a step resumes %s, and receives nothing that was out of sight",
  async (_, request) => {
    const { connect, things, now } = await start();
    const watcher = await connect({ sub: "u2" });
    await watcher.ask({ type: "subscribe", id: "offers", collection: "offers" });
    const later = new Date(Date.now() + 3_600_000);
    const { places, from } = await beforeStep(async (step) => {
      await things.deleteMany({});
      await things.insertMany([
        { _id: "stays", publishAt: new Date(0), expiresAt: later, n: 1 },
        { _id: "goes", publishAt: new Date(0), expiresAt: step, n: 2 },
        { _id: "comes", publishAt: step, expiresAt: later, n: 3 },
      ]);
      const left = new Map<string, object>();
      const first = await connect({ sub: "u1" });
      for (const collection of ["offers", "posts"]) {
        const { ticket } = await first.ask({ type: "subscribe", id: collection, collection, ...request });
        const { cursor } = await first.fence(await now());
        left.set(collection, { cursor, ticket });
      }
      await first.close();
      return { places: left, from: watcher.received.length };
    });
    await things.updateOne({ _id: "comes" }, { $set: { n: 30 } });
    await things.updateOne({ _id: "stays" }, { $set: { n: 10 } });
    await untilSteps(watcher, from, 2);
    await things.updateOne({ _id: "goes" }, { $set: { n: 20 } });
    const second = await connect({ sub: "u1" });
    for (const collection of ["offers", "posts"]) {
      const place = places.get(collection);
      const answer = await second.ask({
        type: "subscribe",
        id: collection,
        collection,
        ...request,
        ...place,
      });
      expect([collection, answer["start"], answer["reason"]]).toEqual([collection, "resumed", undefined]);
      await second.fence(await now());
      const changes = second.received
        .filter(({ query, type }) => query === answer["query"] && type !== "subscribed")
        .map((message) => [...brief(message), (message["doc"] as Thing | undefined)?.n]);
      const sorted = changes.map((parts) => JSON.stringify(parts)).sort();
      // All things are offers until they run out, and posts from when they are published.
      const expected =
        collection === "offers"
          ? [
              ["changed", "update", "comes", 30],
              ["changed", "update", "stays", 10],
              ["removed", "CAUSE", "goes", null],
            ]
          : [
              ["added", "CAUSE", "comes", 30],
              ["changed", "update", "goes", 20],
              ["changed", "update", "stays", 10],
            ];
      const causes = (text: string) => text.replace(/"(removed|added)","(?:update|grant)"/, '"$1","CAUSE"');
      expect(sorted.map(causes)).toEqual(expected.map((parts) => JSON.stringify(parts)).sort());
    }
  },
);

test("over Socket.IO, a step moves as well", async () => {
  const { things, service, name } = await start({ server: { socketio: true } });
  await earlyInStep();
  await things.insertOne({ _id: "short", expiresAt: new Date(stepAfter()) });
  const client = await SocketIoClient.connect(`http://127.0.0.1:${service.address.port}/${name}`, {
    auth: { token: await signToken({ sub: "u1" }) },
  });
  await client.ask("subscribe", { id: "a", collection: "offers" });
  const moved = await client.until(({ type, start: how }) => type === "subscribed" && how === "moved");
  expect(await client.until(({ type }) => type === "removed")).toMatchObject({
    query: moved["query"],
    _id: "short",
  });
  client.close();
});
