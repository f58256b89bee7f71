/** [6] Slow consumers: bounded memory, no harm to others, and equal to `find` once they read again. */
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { eventually, held } from "../../conformance/scenario.ts";
import { signToken, startTestService } from "../../support/service.ts";
import { usedBytes } from "../../support/used-bytes.ts";

const READERS = 1_000;
const MIB = 1_048_576;
const OUTBOX_BYTES = 256 * 1_024;
const HISTORY_BYTES = 8 * MIB;
/** Each of these is large for who reads nothing and small for the others. */
const PAD = "x".repeat(400_000);
/** More than what the system itself buffers for a socket, on both sides. */
const WRITES = 110;
const QUIET_WRITES = 20;

const RULES = { items: { rules: [{ name: "everybody" }] } };

type Setup = Awaited<ReturnType<typeof startTestService>>;
type Item = { _id: number; n: number; pad?: string };

async function outboxBytes({ service }: Setup): Promise<number> {
  const text = await service.metrics.registry.getSingleMetricAsString("tidewire_outbox_bytes");
  return Number(/^tidewire_outbox_bytes (\d+)/m.exec(text)?.[1]);
}

/** One of many who read all that comes; keeps no more than the last `n`. */
class Reader {
  readonly socket: WebSocket;
  changes = 0;
  subscribed = false;
  constructor(url: string, token: string) {
    this.socket = new WebSocket(url);
    this.socket.on("open", () => {
      this.socket.send(JSON.stringify({ type: "hello", token }));
    });
    this.socket.on("message", (data: Buffer) => {
      const text = data.toString("latin1", 0, 24);
      if (text.startsWith('{"type":"welcome"')) {
        const subscribe = { type: "subscribe", id: "a", collection: "items", fields: ["n"] };
        this.socket.send(JSON.stringify(subscribe));
      }
      if (text.startsWith('{"type":"snapshot"')) this.subscribed = true;
      if (/^\{"type":"(added|changed|removed)"/.test(text)) this.changes++;
    });
  }
}

async function startReaders({ url }: Setup, count: number): Promise<Reader[]> {
  const token = await signToken({ sub: "reader" });
  const readers = Array.from({ length: count }, () => new Reader(url, token));
  onTestFinished(() => {
    for (const { socket } of readers) socket.terminate();
  });
  await eventually(() => readers.every(({ subscribed }) => subscribed), "all readers subscribe", 60_000);
  return readers;
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;

test("[G6] a client that reads nothing costs a bounded amount, delays none of a thousand others, and misses nothing in the end", async () => {
  const setup = await startTestService({
    collections: RULES,
    limits: { outboxBytes: `${OUTBOX_BYTES}B`, stallTimeout: "10m" },
    history: { window: "10m", bytes: `${HISTORY_BYTES}B` },
  });
  const { db, connect, now } = setup;
  const items = db.collection<Item>("items");
  await items.insertOne({ _id: 0, n: 0 });
  const readers = await startReaders(setup, READERS);
  const slow = await connect({ sub: "slow" });
  await slow.ask({ type: "subscribe", id: "a", collection: "items" });
  await slow.fence(await now());

  /** Writes, and returns how long it took until every reader had the write. */
  let written = 0;
  const delivered = async (item: Item) => {
    const startMs = performance.now();
    await items.replaceOne({ _id: item._id }, item, { upsert: true });
    written++;
    await eventually(
      () => readers.every(({ changes }) => changes === written),
      "all readers have it",
      30_000,
    );
    return performance.now() - startMs;
  };
  const before: number[] = [];
  for (let n = 1; n <= QUIET_WRITES; n++) before.push(await delivered({ _id: 0, n }));

  slow.socket.pause();
  const usedBefore = usedBytes();
  let most = 0;
  for (let n = 0; n < WRITES; n++) {
    await items.replaceOne({ _id: n % 50 }, { n: 1_000 + n, pad: PAD }, { upsert: true });
    written++;
    if (n % 10 === 0) most = Math.max(most, await outboxBytes(setup));
  }
  await eventually(() => readers.every(({ changes }) => changes === written), "all readers have all", 60_000);
  await expect.poll(() => outboxBytes(setup), { timeout: 60_000 }).toBeGreaterThan(0);
  most = Math.max(most, await outboxBytes(setup));
  // The bound, the frames' headers, and readers that were just being written to.
  expect(most).toBeLessThan(OUTBOX_BYTES + PAD.length + MIB);
  // Data that was just processed is freed by one of the next garbage collections.
  await expect
    .poll(() => usedBytes() - usedBefore, { timeout: 60_000 })
    .toBeLessThan(HISTORY_BYTES + OUTBOX_BYTES + 24 * MIB);

  const during: number[] = [];
  for (let n = 1; n <= QUIET_WRITES; n++) during.push(await delivered({ _id: 0, n: 5_000 + n }));
  expect(median(during)).toBeLessThan(5 * median(before) + 100);

  expect(slow.closed).toBeUndefined();
  slow.socket.resume();
  await slow.fence(await now());
  const found = await items.find().sort({ _id: 1 }).toArray();
  const holds = held(slow.received) as Item[]; // the documents of this collection
  expect(holds.toSorted((a, b) => a._id - b._id)).toEqual(found);
  // It was behind, and not forever.
  expect(slow.received.length).toBeGreaterThan(1);
  await expect.poll(() => outboxBytes(setup), { timeout: 60_000 }).toBe(0);
});

test("[6] a client that drains nothing for limits.stallTimeout is closed without a message, and its memory is freed", async () => {
  const setup = await startTestService({
    collections: RULES,
    limits: { outboxBytes: "1MiB", stallTimeout: "2s" },
    history: { bytes: "1MiB" },
  });
  const { db, connect, now, service } = setup;
  const items = db.collection<Item>("items");
  const slow = await connect({ sub: "slow" });
  await slow.ask({ type: "subscribe", id: "a", collection: "items" });
  const other = await connect({ sub: "other" });
  await other.ask({ type: "subscribe", id: "a", collection: "items", fields: ["n"] });
  slow.socket.pause();
  const closed = once(slow.socket, "close");
  for (let n = 0; service.readiness().connections === 2; n++) {
    await items.replaceOne({ _id: n % 10 }, { n, pad: PAD }, { upsert: true });
    expect(n).toBeLessThan(5_000);
  }
  await expect.poll(() => outboxBytes(setup), { timeout: 60_000 }).toBe(0);
  // `once` hears of the end only when there is nothing left to read.
  slow.socket.resume();
  expect((await closed)[0]).toBe(1006);
  await other.fence(await now());
  expect(other.closed).toBeUndefined();
  const metrics = await service.metrics.registry.getSingleMetricAsString("tidewire_connections_closed_total");
  expect(metrics).toContain('tidewire_connections_closed_total{code="4001"} 1');
});

test("[6] a slow client that continues to read is not disconnected, however small its outbox, and ends up equal to find", async () => {
  const setup = await startTestService({
    collections: RULES,
    limits: { outboxBytes: "64KiB", stallTimeout: "2s", snapshotBatchBytes: "16KiB" },
    history: { window: "10m" },
  });
  const { db, connect, now } = setup;
  const items = db.collection<Item>("items");
  await items.insertMany(Array.from({ length: 300 }, (_, n) => ({ _id: n, n, pad: PAD.slice(0, 20_000) })));
  const slow = await connect({ sub: "slow" });
  // Several that lag together: each waits for room of its own.
  for (const id of ["a", "b", "c"]) {
    slow.send({
      type: "subscribe",
      id,
      collection: "items",
      fields: id === "a" ? ["n", "pad"] : ["n", "pad", id],
    });
  }
  let isReading = true;
  const trickle = setInterval(() => {
    isReading = !isReading;
    if (isReading) slow.socket.resume();
    else slow.socket.pause();
  }, 20);
  for (let n = 0; n < 300; n++) {
    await items.updateOne({ _id: n % 300 }, { $set: { n: n + 1_000, pad: PAD.slice(0, 20_000 + n) } });
  }
  clearInterval(trickle);
  slow.socket.resume();
  await slow.fence(await now());
  const found = await items.find({}, { projection: { n: 1, pad: 1 } }).toArray();
  const queries = new Set(
    slow.received.filter(({ type }) => type === "subscribed").map((got) => got["query"]),
  );
  expect(queries.size).toBe(3);
  for (const query of queries) {
    const documents = held(slow.received.filter((got) => got["query"] === query)) as Item[];
    expect(documents.toSorted((a, b) => a._id - b._id)).toEqual(found.toSorted((a, b) => a._id - b._id));
  }
});

test("[6] a client that reads nothing holds no more than limits.snapshotsPerConnection, whatever it asks for", async () => {
  const setup = await startTestService({
    collections: RULES,
    limits: { outboxBytes: "64KiB", snapshotBatchBytes: "64KiB", snapshotsPerConnection: 2 },
  });
  const { db, connect, service } = setup;
  const items = db.collection<Item>("items");
  await items.insertMany(Array.from({ length: 20 }, (_, n) => ({ _id: n, n, pad: PAD })));
  const opened = async () => {
    const text = await service.metrics.registry.getSingleMetricAsString("tidewire_snapshots_total");
    return Number(/served="read"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  const slow = await connect({ sub: "slow" });
  slow.socket.pause();
  const ids = ["a", "b", "c", "d", "e"];
  for (const id of ids) {
    slow.send({ type: "subscribe", id, collection: "items", filter: { n: { $gte: -ids.indexOf(id) } } });
  }
  await expect.poll(opened).toBe(2);
  // A client that asks later and reads is served. The others still wait, although there was time.
  const other = await connect({ sub: "other" });
  await other.ask({ type: "subscribe", id: "a", collection: "items", filter: { n: { $lt: 5 } } });
  await other.until(({ type, last }) => type === "snapshot" && last === true);
  expect(await opened()).toBe(3);
  slow.socket.resume();
  const isLast = ({ type, last }: { type: string; last?: unknown }) => type === "snapshot" && last === true;
  await expect.poll(() => slow.received.filter(isLast).length, { timeout: 60_000 }).toBe(ids.length);
  expect(slow.received.filter(({ type }) => type === "subscribed")).toHaveLength(ids.length);
});
