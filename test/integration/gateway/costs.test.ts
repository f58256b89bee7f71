/** The limits of one user's cost for the node: windows, work, and data that waits to be read. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService } from "../../support/service.ts";

const THINGS = { things: { rules: [{ name: "all" }] } };
const PATIENCE = { timeout: 60_000 };

interface Thing {
  _id: number;
  n?: number;
  key?: string;
  list?: { a: number; b: string }[];
}

/** The `_id` of the document that a message brings. */
const idOf = (message: Record<string, unknown>) => (message["doc"] as { _id?: unknown } | undefined)?._id;

const tooMany = (limit: string) => ({
  type: "error",
  code: "too-many-subscriptions",
  retry: "later",
  details: { limit },
});

test("limits.userWindowBytes: sorts without a limit are refused once their windows pass the user's share", async () => {
  const { service, db, connect } = await startTestService({
    collections: THINGS,
    limits: { userWindowBytes: "2MiB", windowBytes: "16MiB" },
  });
  const key = "k".repeat(2_000);
  await db
    .collection<Thing>("things")
    .insertMany(Array.from({ length: 200 }, (_, _id) => ({ _id, n: _id, key })));
  const [greedy, bystander] = [await connect({ sub: "u1" }), await connect({ sub: "u2" })];
  const sorted = (id: number) => ({
    type: "subscribe",
    id: `${id}`,
    collection: "things",
    filter: { n: { $gte: -id } },
    sort: [["key", 1]],
  });
  const answers = [];
  for (let id = 0; id < 40; id++) answers.push(await greedy.ask(sorted(id)));
  const made = answers.filter(({ type }) => type === "subscribed").length;
  expect(made).toBeGreaterThan(1);
  expect(made).toBeLessThan(10);
  expect(answers.at(-1)).toMatchObject(tooMany("userWindowBytes"));
  expect(await metricOf(service, "tidewire_window_bytes")).toBeLessThan(3 * 1_048_576);
  // Another user has a share of their own, and unsubscribing makes room.
  expect(await bystander.ask(sorted(100))).toMatchObject({ type: "subscribed" });
  for (let id = 0; id < 3; id++) await greedy.ask({ type: "unsubscribe", id: `${id}` });
  expect(await greedy.ask(sorted(50))).toMatchObject({ type: "subscribed" });
});

test("limits.userWindowBytes: a window that grows past the share while live ends with a clear error", async () => {
  const { db, connect } = await startTestService({
    collections: THINGS,
    limits: { userWindowBytes: "1MiB" },
  });
  const things = db.collection<Thing>("things");
  await things.insertOne({ _id: -1, n: 1, key: "k" });
  const client = await connect({ sub: "u1" });
  const request = { type: "subscribe", collection: "things" };
  await client.ask({ ...request, id: "plain", filter: { n: -1 } });
  await client.ask({ ...request, id: "sorted", sort: [["key", 1]] });
  const key = "k".repeat(3_000);
  for (let batch = 0; batch < 5; batch++) {
    await things.insertMany(Array.from({ length: 100 }, (_, n) => ({ _id: batch * 100 + n, n: 1, key })));
  }
  expect(await client.until(({ type }) => type === "error")).toMatchObject({
    ...tooMany("userWindowBytes"),
    id: "sorted",
  });
  await client.until(({ type }) => type === "unsubscribed");
  await things.insertOne({ _id: -2, n: -1 });
  expect(await client.until((got) => got.type === "added" && idOf(got) === -2)).toBeDefined();
});

test("limits.filterWorkPerUser: filters that cost too much together are refused before they are matched", async () => {
  const { connect } = await startTestService({ collections: THINGS, limits: { filterWorkPerUser: 2_000 } });
  const client = await connect({ sub: "u1" });
  const filter = (id: number) => ({ $or: Array.from({ length: 40 }, (_, n) => ({ n: id * 1_000 + n })) });
  const ask = (id: number) =>
    client.ask({ type: "subscribe", id: `${id}`, collection: "things", filter: filter(id) });
  const answers = [];
  for (let id = 0; id < 5; id++) answers.push(await ask(id));
  expect(answers[0]).toMatchObject({ type: "subscribed" });
  expect(answers.at(-1)).toMatchObject(tooMany("filterWorkPerUser"));
});

test("limits.sortPaths: a sort of as many paths is served, one path more is bad-filter, and sorts are charged as work", async () => {
  const { connect } = await startTestService({
    collections: THINGS,
    limits: { sortPaths: 3, filterWorkPerUser: 200 },
  });
  const client = await connect({ sub: "u1" });
  const ask = (id: string, paths: number) => {
    const sort = Array.from({ length: paths }, (_, i) => [`list.${id}${i}`, 1]);
    return client.ask({ type: "subscribe", id, collection: "things", sort, limit: 5 });
  };
  expect(await ask("four", 4)).toMatchObject({
    code: "bad-filter",
    details: { limit: "sortPaths", value: 3 },
  });
  for (const id of ["a", "b", "c"]) expect(await ask(id, 3)).toMatchObject({ type: "subscribed" });
  expect(await ask("d", 3)).toMatchObject(tooMany("filterWorkPerUser"));
});

test.each([
  ["256KiB", true],
  ["64MiB", false],
])(
  "limits.userOutboxBytes %s: connections of one user that read nothing share the limit: %s",
  async (userOutboxBytes, isBounded) => {
    const { service, db, connect } = await startTestService({
      collections: THINGS,
      limits: { userOutboxBytes, outboxBytes: "1MiB", stallTimeout: "10m" },
      history: { window: "10m" },
    });
    const subscribe = { type: "subscribe", id: "a", collection: "things", snapshot: false };
    const slow = await Promise.all(Array.from({ length: 3 }, () => connect({ sub: "u1" })));
    const bystander = await connect({ sub: "u2" });
    for (const client of [...slow, bystander]) await client.ask(subscribe);
    for (const { socket } of slow) socket.pause();
    // More than the system itself buffers for a socket, on both sides; each message is less than 64 KiB.
    const key = "k".repeat(30_000);
    for (let round = 0; round < 10; round++) {
      const ids = Array.from({ length: 50 }, (_, n) => 50 * round + n);
      await db.collection<Thing>("things").insertMany(ids.map((_id) => ({ _id, key })));
    }
    await bystander.until((got) => got.type === "added" && idOf(got) === 499);
    const held = await metricOf(service, "tidewire_outbox_bytes");
    const most = 262_144 + 3 * 65_536;
    if (isBounded) expect(held).toBeLessThanOrEqual(most);
    else expect(held).toBeGreaterThan(most);
    for (const client of slow) {
      client.socket.resume();
      await client.until((got) => got.type === "added" && idOf(got) === 499);
    }
  },
);

test("limits.workPerUser: the costliest live queries of a user end, their cheap ones and other users' stay", async () => {
  const { service, db, connect } = await startTestService({
    collections: THINGS,
    // After the costly live queries have ended, the cheap one has what is saved up since. That must be enough for an
    // evaluation on a busy machine, which may take more than a millisecond.
    limits: { workPerUser: "50ms", requestsPerSecond: 1_000, requestBurst: 1_000 },
  });
  const things = db.collection<Thing>("things");
  const [greedy, bystander] = [await connect({ sub: "u1" }), await connect({ sub: "u2" })];
  await bystander.ask({
    type: "subscribe",
    id: "mine",
    collection: "things",
    filter: { n: 2 },
    snapshot: false,
  });
  await greedy.ask({
    type: "subscribe",
    id: "cheap",
    collection: "things",
    // Not the large document: even its encoding costs more than the limit where the machine is slow.
    filter: { n: 2 },
    snapshot: false,
  });
  for (let id = 0; id < 30; id++) {
    await greedy.ask({
      type: "subscribe",
      id: `costly ${id}`,
      collection: "things",
      filter: {
        $nor: [{ list: { $elemMatch: { a: { $gt: id }, b: { $ne: `${id}` }, c: { $exists: true } } } }],
      },
      snapshot: false,
    });
  }
  const list = Array.from({ length: 5_000 }, (_, a) => ({ a, b: `text ${a}` }));
  await things.insertOne({ _id: 0, n: 1, list });
  await things.insertOne({ _id: 2, n: 2 });
  // Until the limit is exceeded, however fast the machine is.
  await expect
    .poll(async () => {
      await things.updateMany({}, { $inc: { count: 1 } } as never);
      return greedy.received.some(({ type }) => type === "error");
    }, PATIENCE)
    .toBe(true);
  for (const error of greedy.received.filter(({ type }) => type === "error")) {
    expect(error).toMatchObject(tooMany("workPerUser"));
    expect(error["id"]).toMatch(/^costly/);
  }
  expect(bystander.received.filter(({ type }) => type === "error")).toEqual([]);
  expect(await metricOf(service, "tidewire_match_seconds_total")).toBeGreaterThan(0);
  // The user who has just spent everything gets no more for a moment.
  const answer = await greedy.ask({ type: "subscribe", id: "next", collection: "things", filter: { n: 3 } });
  if (answer.type === "error")
    expect(answer).toMatchObject({ ...tooMany("workPerUser"), retryAfterMs: 10_000 });
  await things.insertOne({ _id: 1, n: 2 });
  for (const client of [greedy, bystander]) {
    await client.until((got) => got.type === "added" && idOf(got) === 1);
  }
});
