/** [G5] Cursors that reveal the head move in steps of the clock, whatever is written that a client does not see. */
import { expect, test } from "vitest";
import { bearer, COLLECTIONS, type Item, startHttpService } from "../../support/http-service.ts";
import { signToken, testConfig, toConfig } from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";

const STEP_MS = 1_000;
const ROOM = { requestsPerSecond: 100_000, requestBurst: 100_000 };
/** As in `testConfig`: how old the position of an idle stream gets, and the time that the service allows for answers. */
const LAG_MS = 200 + 200 + 200;

type Setup = Awaited<ReturnType<typeof start>>;

const start = (history: Record<string, unknown> = {}) =>
  startHttpService({
    server: { socketio: true },
    limits: ROOM,
    history: { window: "5m", cursorStep: `${STEP_MS}ms`, ...history },
  });

/** Ways to ask for the head: each gives a probe, which gives one cursor. */
const PROBES: Record<string, (setup: Setup) => Promise<() => Promise<string>>> = {
  "subscribed, live": async ({ connect }) => {
    const client = await connect({ sub: "u1" });
    return async () => {
      const answer = await client.ask({ type: "subscribe", id: "a", collection: "items", snapshot: false });
      await client.ask({ type: "unsubscribe", id: "a" });
      return String(answer["cursor"]);
    };
  },
  "subscribed, shared": async ({ connect }) => {
    const client = await connect({ sub: "u1" });
    await client.ask({ type: "subscribe", id: "first", collection: "items", snapshot: false });
    return async () => {
      const answer = await client.ask({ type: "subscribe", id: "a", collection: "items", snapshot: false });
      await client.ask({ type: "unsubscribe", id: "a" });
      return String(answer["cursor"]);
    };
  },
  "subscribed, reset": async ({ connect }) => {
    const client = await connect({ sub: "u1" });
    const request = { type: "subscribe", id: "a", collection: "items", snapshot: false, cursor: "invented" };
    return async () => {
      const answer = await client.ask(request);
      await client.ask({ type: "unsubscribe", id: "a" });
      return String(answer["cursor"]);
    };
  },
  fenced: async ({ connect }) => {
    const client = await connect({ sub: "u1" });
    await client.ask({ type: "subscribe", id: "a", collection: "items" });
    return async () => String((await client.fence({ t: 1, i: 1 }))["cursor"]);
  },
  "the id of an event": async ({ stream }) => {
    const headers = await bearer();
    return async () => {
      const opened = await stream({ snapshot: false }, headers);
      const first = await opened.until(({ type }) => type === "subscribed");
      opened.cut();
      return String(first?.id?.split(".").at(-1));
    };
  },
  "the answer to a poll": async ({ poll }) => {
    return async () => (await poll({ snapshot: false, wait: 0 })).cursor;
  },
  "an acknowledgement of Socket.IO": async ({ base, name }) => {
    const client = await SocketIoClient.connect(`${base}/${name}`, {
      auth: { token: await signToken({ sub: "u1" }) },
    });
    let number = 0;
    return async () => {
      const id = `s${number++}`;
      const answer = await client.ask("subscribe", { id, collection: "items", snapshot: false });
      await client.ask("unsubscribe", { id });
      return String(answer["cursor"]);
    };
  },
};

/**
 * Probes for some seconds, as fast as answers come, and until there was enough to see.
 * @returns How many different cursors there were, and how many there may be.
 */
async function probeFor(ms: number, probe: () => Promise<string>, isEnough = () => true) {
  const startMs = Date.now();
  const cursors = new Set<string>();
  while (Date.now() - startMs < ms || !isEnough()) cursors.add(await probe());
  return { told: cursors.size, most: Math.floor((Date.now() - startMs) / STEP_MS) + 2 };
}

/** Writes documents that `u1` does not see, some 50 times a second, until it is stopped. */
function writeUnseen({ items }: Setup) {
  let isOver = false;
  let written = 0;
  const writing = (async () => {
    for (; !isOver; written++) {
      await items.insertOne({ _id: `unseen ${written}`, owner: "u2" });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    written: () => written,
    stop: async () => {
      isOver = true;
      await writing;
    },
  };
}

test.each(Object.keys(PROBES))(
  "the cursor moves once a step, with and without unseen writes: %s",
  async (name) => {
    const setup = await start();
    const probe = await PROBES[name]!(setup);
    const idle = await probeFor(3_000, probe);
    const { written, stop } = writeUnseen(setup);
    const busy = await probeFor(3_000, probe, () => written() > 20);
    await stop();
    for (const { told, most } of [idle, busy]) {
      expect(told).toBeGreaterThan(1);
      expect(told).toBeLessThanOrEqual(most);
    }
  },
);

test("fences do not count unseen writes: those of one second are answered together, and not before it is over", async () => {
  const setup = await start();
  const client = await setup.connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  const { stop } = writeUnseen(setup);
  for (let round = 0; round < 3; round++) {
    const { t } = await setup.now();
    const from = client.received.length;
    const askedMs = Date.now();
    const answers = Array.from({ length: 16 }, (_, i) => client.fence({ t, i: i + 1 }));
    const cursors = new Set((await Promise.all(answers)).map((answer) => answer["cursor"]));
    expect(cursors.size).toBe(1);
    // Only a change or a watermark could lie between two answers, and there was neither.
    expect(client.received.slice(from).every(({ type }) => type === "fenced")).toBe(true);
    const overMs = (t + 1) * STEP_MS + LAG_MS;
    if (askedMs < overMs) expect(Date.now()).toBeGreaterThanOrEqual(overMs);
  }
  await stop();
});

test("a fence on the time of a change that was just sent is answered at once", async () => {
  const stepMs = 60_000;
  const { client: mongo, connect, items } = await start({ cursorStep: `${stepMs}ms` });
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  // The next step is later than any answer that is waited for here.
  while (Date.now() % stepMs > stepMs - 21_000) await new Promise((resolve) => setTimeout(resolve, 100));
  const session = mongo.startSession();
  await items.insertOne({ _id: 1, owner: "u1" }, { session });
  const { t, i } = session.operationTime as unknown as { t: number; i: number };
  await session.endSession();
  await client.until(({ type }) => type === "added");
  expect(await client.fence({ t, i })).toMatchObject({ type: "fenced" });
});

test("the cursors of two snapshots cannot be compared, and each resumes exactly", async () => {
  const { connect, items, now } = await start();
  await items.insertOne({ _id: 1, owner: "u1", n: 1 });
  const client = await connect({ sub: "u1" });
  const places: { cursor: unknown; ticket: unknown }[] = [];
  for (const filter of [{ n: { $gt: 0 } }, { n: { $gt: -1 } }]) {
    const id = JSON.stringify(filter);
    const { query, cursor, ticket } = await client.ask({
      type: "subscribe",
      id,
      collection: "items",
      filter,
    });
    const isIts = (message: { type: string; query?: unknown }) =>
      message.type === "snapshot" && message.query === query;
    expect((await client.until(isIts))?.["cursor"]).toBe(cursor);
    places.push({ cursor, ticket });
    const startedMs = Date.now();
    while (Date.now() === startedMs) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(places[0]?.cursor).not.toBe(places[1]?.cursor);
  await client.close();
  await items.updateOne({ _id: 1 }, { $set: { n: 2 } });
  const second = await connect({ sub: "u1" });
  const request = { type: "subscribe", collection: "items", filter: { n: { $gt: 0 } } };
  expect(await second.ask({ ...request, id: "a", ...places[0] })).toMatchObject({ start: "resumed" });
  await second.fence(await now());
  expect(second.received.filter(({ type }) => type === "changed")).toMatchObject([{ doc: { _id: 1, n: 2 } }]);
  expect(second.received.filter(({ type }) => ["added", "snapshot"].includes(type))).toEqual([]);
  // The ticket of one with the cursor of an earlier one, whether or not anything was written between them.
  const mixed = { ...places[1], cursor: places[0]?.cursor };
  const other = { ...request, filter: { n: { $gt: -1 } }, id: "b", ...mixed };
  expect(await second.ask(other)).toMatchObject({ reason: "cursor-invalid" });
});

test("a snapshot after an edit of the rules resumes exactly, though its ticket is from before it was read", async () => {
  const { service, uri, name, connect, items, now } = await start();
  const client = await connect({ sub: "u1" });
  await items.insertOne({ _id: 1, owner: "u1", n: 1 });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  const from = client.received.length;
  const rules = [{ name: "owner", filter: { owner: "%%user.sub" }, fields: { exclude: ["secret", "text"] } }];
  const collections = { ...COLLECTIONS, items: { rules } };
  await service.reload(toConfig(testConfig(uri, name, { collections })));
  const reset = await client.until(({ type }) => type === "subscribed", from);
  expect(reset).toMatchObject({ start: "reset", reason: "rights-changed" });
  const snapshot = await client.until(({ type }) => type === "snapshot", from);
  await client.close();
  await items.updateOne({ _id: 1 }, { $set: { n: 2 } });
  const second = await connect({ sub: "u1" });
  const place = { cursor: snapshot?.["cursor"], ticket: reset?.["ticket"] };
  expect(await second.ask({ type: "subscribe", id: "a", collection: "items", ...place })).toMatchObject({
    start: "resumed",
  });
  await second.fence(await now());
  const changes = second.received.filter(({ type }) => ["added", "changed", "snapshot"].includes(type));
  expect(changes).toMatchObject([
    { type: "changed", doc: { _id: 1, n: 2 } } satisfies { type: string; doc: Item },
  ]);
});
