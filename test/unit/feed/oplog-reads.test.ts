import { MongoNetworkError, MongoServerError } from "mongodb";
import { expect, test, vi } from "vitest";
import { BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import type { OplogRead } from "../../../src/feed/oplog-read.ts";
import { OplogReads } from "../../../src/feed/oplog-reads.ts";
import type { OpenStream } from "../../../src/feed/shared-stream.ts";
import { guardParts } from "../../support/guard-parts.ts";

/** Reads whose streams are not asked to give way unless the test sets a turn, and the number of streams at any time. */
function newReads(
  open: OpenStream,
  {
    streams = 2,
    turnMs = 600_000,
    headTime = 0n,
  }: { streams?: number; turnMs?: number; headTime?: bigint } = {},
) {
  const { log, metrics } = guardParts();
  const set = vi.spyOn(metrics.catchUpStreams, "set");
  const held = () => set.mock.calls.map((args) => args.at(-1) as number);
  const limits = { catchUpStreams: streams, catchUpTurnMs: turnMs };
  const reads = new OplogReads(limits, { open, timeline: { headTime }, log, metrics, retryMs: 10 });
  const gaveWay = async () => (await metrics.catchUpsGaveWay.get()).values[0]?.value ?? 0;
  return { reads, held, gaveWay };
}

const codec = new CursorCodec({ id: "00000000", cursorKey: Buffer.alloc(16, 1) });

test("limits.catchUpStreams: opens at most this many streams, and later requests share the next one", async () => {
  const opened: bigint[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from);
    while (!signal.aborted) {
      yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
    }
  }
  const { reads, held } = newReads(open);
  const ask = (clusterTime: bigint) => reads.request({ clusterTime, within: BEFORE }, codec);
  const first = await ask(10n);
  const second = await ask(20n);
  const waiting = [ask(40n), ask(30n)];
  expect(opened).toEqual([10n, 20n]);
  first?.end();
  const [fourth, third] = await Promise.all(waiting);
  // One stream for both, from the older position on.
  expect(opened).toEqual([10n, 20n, 30n]);
  expect(Math.max(...held())).toBe(2);
  for (const read of [second, third, fourth]) read?.end();
  expect(held().at(-1)).toBe(0);
});

/** A stream of empty batches, one for each cluster time, that fails before some of them, each time once. */
function failingAt(failures: Map<bigint, Error>) {
  const opened: bigint[] = [];
  async function* open(from: bigint) {
    opened.push(from);
    for (let through = from; ; through++) {
      const failure = failures.get(through);
      failures.delete(through);
      if (failure !== undefined) throw failure;
      yield { commits: [], through, resumeToken: undefined, invalidated: undefined };
    }
  }
  const { reads, held } = newReads(open);
  return { opened, held, reads };
}

async function readUntil(read: OplogRead | null, clusterTime: bigint): Promise<bigint[]> {
  const times: bigint[] = [];
  for await (const { batch } of read?.batches() ?? []) {
    times.push(batch.until.clusterTime);
    if (batch.until.clusterTime >= clusterTime) break;
  }
  return times;
}

test("the fastest reader and a slower reader of a catch-up continue after an outage", async () => {
  const { opened, held, reads } = failingAt(new Map([[12n, new MongoNetworkError("gone")]]));
  const ask = () => reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const [fast, slow] = await Promise.all([ask(), ask()]);
  expect(await readUntil(fast, 14n)).toEqual([10n, 11n, 11n, 12n, 13n, 14n]);
  expect(await readUntil(slow, 14n)).toEqual([10n, 11n, 11n, 12n, 13n, 14n]);
  expect(opened).toEqual([10n, 11n, 11n]);
  for (const read of [fast, slow]) read?.end();
  expect(held().at(-1)).toBe(0);
});

test("a catch-up ends where the oplog no longer reaches back after an outage, or the fault is another one", async () => {
  const lost = new MongoServerError({ message: "gone", code: 286 });
  const gone = new MongoNetworkError("gone");
  const { reads, held } = failingAt(new Map<bigint, Error>([[12n, gone]]));
  const read = await reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const { reads: others } = failingAt(new Map<bigint, Error>([[12n, new RangeError("a bug")]]));
  const other = await others.request({ clusterTime: 10n, within: BEFORE }, codec);
  await expect(readUntil(other, 14n)).rejects.toThrow("a bug");
  const { reads: third } = failingAt(new Map<bigint, Error>([[12n, lost]]));
  await expect(
    readUntil(await third.request({ clusterTime: 10n, within: BEFORE }, codec), 14n),
  ).rejects.toThrow(lost);
  // A reader that leaves while the stream is being opened again holds nothing.
  const reading = readUntil(read, 14n);
  read?.end();
  await reading.catch(() => {});
  expect(held().at(-1)).toBe(0);
});

/** A stream of one empty batch for each cluster time up to the end. */
function countingStreams(end: bigint) {
  const opened: bigint[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from);
    for (let through = from; through <= end && !signal.aborted; through++)
      yield { commits: [], through, resumeToken: undefined, invalidated: undefined };
  }
  return { opened, open };
}

test("limits.catchUpTurn: a slow reader leaves its stream to others who wait, and continues where it was", async () => {
  const { opened, open } = countingStreams(14n);
  const { reads, gaveWay } = newReads(open, { streams: 1, turnMs: 20 });
  const ask = () => reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const slow = await ask();
  const batches = slow?.batches();
  const first = await batches?.next();
  expect(first?.value).toMatchObject({ batch: { until: { clusterTime: 10n } } });
  // The slow reader waits for room from here on, and asks for nothing.
  const other = await ask();
  expect([opened, await gaveWay()]).toEqual([[10n, 10n], 1]);
  expect(await readUntil(other, 14n)).toEqual([10n, 11n, 12n, 13n, 14n]);
  other?.end();
  const rest: bigint[] = [];
  for await (const { batch } of batches ?? []) rest.push(batch.until.clusterTime);
  expect([rest, opened, await gaveWay()]).toEqual([[10n, 11n, 12n, 13n, 14n], [10n, 10n, 10n], 1]);
  slow?.end();
});

test("limits.catchUpTurn: readers in the middle of a read take turns until each has everything", async () => {
  async function* open(from: bigint, signal: AbortSignal) {
    for (let through = from; through <= 40n && !signal.aborted; through++) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      yield { commits: [], through, resumeToken: undefined, invalidated: undefined };
    }
  }
  const { reads, held, gaveWay } = newReads(open, { streams: 1, turnMs: 10 });
  const one = reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const other = one.then(() => reads.request({ clusterTime: 20n, within: BEFORE }, codec));
  for (const times of await Promise.all([one, other].map(async (read) => readUntil(await read, 40n)))) {
    expect(times.at(-1)).toBe(40n);
    // A batch may come again after each turn, and none is left out.
    for (const [at, time] of times.entries()) expect(time - (times[at - 1] ?? time)).toBeLessThanOrEqual(1n);
  }
  expect(await gaveWay()).toBeGreaterThan(0);
  for (const read of [await one, await other]) read?.end();
  expect([held().at(-1), Math.max(...held())]).toEqual([0, 1]);
});

test("limits.catchUpTurn: a stream for which nobody waits is kept, however slow its readers are", async () => {
  const { opened, open } = countingStreams(14n);
  const { reads } = newReads(open, { streams: 1, turnMs: 1 });
  const read = await reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const times: bigint[] = [];
  for await (const { batch } of read?.batches() ?? []) {
    times.push(batch.until.clusterTime);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  read?.end();
  expect([times, opened]).toEqual([[10n, 11n, 12n, 13n, 14n], [10n]]);
});

test("a reader that has left its stream to others, and then ends, takes no slot any more", async () => {
  const { open } = countingStreams(14n);
  const { reads, held } = newReads(open, { streams: 1, turnMs: 1 });
  const ask = () => reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  const slow = await ask();
  const batches = slow?.batches();
  await batches?.next();
  const other = await ask();
  // It waits for its next turn when its client leaves.
  const next = batches?.next();
  slow?.end();
  other?.end();
  expect(await next).toEqual({ done: true, value: undefined });
  const last = await ask();
  expect(await readUntil(last, 14n)).toHaveLength(5);
  last?.end();
  expect(held().at(-1)).toBe(0);
});

test("a stream does not begin much earlier than any of its readers needs, and who has waited longest is served first", async () => {
  const at = (secondsAgo: number) => ({ clusterTime: BigInt(10_000 - secondsAgo) << 32n, within: BEFORE });
  const opened: number[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(10_000 - Number(from >> 32n));
    while (!signal.aborted)
      yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
  }
  const { reads } = newReads(open, { streams: 1, headTime: 10_000n << 32n });
  const running = await reads.request(at(5), codec);
  const asked = [100, 3_000, 250, 130, 9_000, 40, 5_000].map(async (secondsAgo) => {
    const read = await reads.request(at(secondsAgo), codec);
    const turn = opened.length;
    // Let all who share the stream receive it, before the next one is opened.
    await new Promise((resolve) => setTimeout(resolve, 20));
    read?.end();
    return [secondsAgo, turn];
  });
  running?.end();
  const turns = await Promise.all(asked);
  expect(opened).toEqual([5, 250, 5_000, 9_000, 40]);
  expect(turns).toEqual([
    [100, 2],
    [3_000, 3],
    [250, 2],
    [130, 2],
    [9_000, 4],
    [40, 5],
    [5_000, 3],
  ]);
});
