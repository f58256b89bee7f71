import { MongoNetworkError, MongoServerError } from "mongodb";
import { expect, test, vi } from "vitest";
import { BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import type { OplogRead } from "../../../src/feed/oplog-read.ts";
import { OplogReads } from "../../../src/feed/oplog-reads.ts";
import type { OpenStream } from "../../../src/feed/shared-stream.ts";
import { StreamStalledError } from "../../../src/source/stream-errors.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { commitOf, FROM } from "./feed-parts.ts";

/** Reads whose streams are not asked to give way unless the test sets a turn, and the number of streams at any time. */
function newReads(
  open: OpenStream,
  {
    streams = 2,
    turnMs = 600_000,
    headTime = 0n,
    ping = async () => {},
  }: { streams?: number; turnMs?: number; headTime?: bigint; ping?: () => Promise<void> } = {},
) {
  const { log, metrics } = guardParts();
  const set = vi.spyOn(metrics.catchUpStreams, "set");
  const held = () => set.mock.calls.map((args) => args.at(-1) as number);
  const limits = { catchUpStreams: streams, catchUpTurnMs: turnMs };
  const reads = new OplogReads(limits, { open, ping, timeline: { headTime }, log, metrics, retryMs: 10 });
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

/** A stream of one commit for each increment of the cluster time, each in a batch of its own. */
function streamsOfCommits(count: number, bytes: number) {
  const opened: bigint[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from - FROM);
    for (let offset = Math.max(1, Number(from - FROM)); offset <= count && !signal.aborted; offset++) {
      const commits = [commitOf(offset, [], bytes)];
      yield { commits, through: FROM + BigInt(offset), resumeToken: undefined, invalidated: undefined };
    }
  }
  return { opened, open };
}

test("[G2] a reader that the others of its stream overtake continues where it was", async () => {
  const { opened, open } = streamsOfCommits(8, 8 * 1_048_576);
  const { reads, held } = newReads(open);
  const ask = () => reads.request({ clusterTime: FROM, within: BEFORE }, codec);
  const [fast, slow] = await Promise.all([ask(), ask()]);
  const batches = slow?.batches();
  const first = await batches?.next();
  expect(first?.value).toMatchObject({ batch: { entries: [{ commit: { clusterTime: FROM + 1n } }] } });
  expect(await readUntil(fast, FROM + 8n)).toHaveLength(8);
  fast?.end();
  const rest: bigint[] = [];
  for await (const { batch, covered } of batches ?? [])
    for (const { commit } of batch.entries.slice(covered)) rest.push(commit.clusterTime - FROM);
  expect(rest).toEqual([2n, 3n, 4n, 5n, 6n, 7n, 8n]);
  expect(opened).toEqual([0n, 1n]);
  slow?.end();
  expect(held().at(-1)).toBe(0);
});

test("a reader that puts a batch back holds none of it, and receives the rest of it later", async () => {
  async function* open() {
    const commits = [commitOf(1), commitOf(2), commitOf(3)];
    yield { commits, through: FROM + 3n, resumeToken: undefined, invalidated: undefined };
  }
  const { reads } = newReads(open);
  const read = await reads.request({ clusterTime: FROM, within: BEFORE }, codec);
  const seen: unknown[] = [];
  for await (const part of read?.batches() ?? []) {
    const { batch, covered } = part;
    seen.push([batch.entries.length, covered]);
    if (seen.length > 3) break;
    // First nothing of it was sent, and then one commit each time.
    const sent = seen.length === 1 ? undefined : batch.entries[covered];
    read?.putBack(part, sent?.position ?? null);
    expect(part.batch.entries).toEqual([]);
  }
  expect(seen).toEqual([
    [3, 0],
    [3, 0],
    [3, 1],
    [3, 2],
  ]);
  read?.end();
});

test("for clients that have left, no stream is opened and none gives way", async () => {
  const { opened, open } = countingStreams(14n);
  const { reads, held, gaveWay } = newReads(open, { streams: 1, turnMs: 1 });
  const ask = (isWanted?: () => boolean) =>
    reads.request({ clusterTime: 10n, within: BEFORE }, codec, isWanted);
  const slow = await ask();
  const batches = slow?.batches();
  await batches?.next();
  const gone = Promise.all([ask(() => false), ask(() => false)]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await gaveWay()).toBe(0);
  // Another client asks afterwards, and does not wait for ever.
  const other = await ask();
  expect([await gone, opened, await gaveWay()]).toEqual([[null, null], [10n, 10n], 1]);
  slow?.end();
  other?.end();
  const last = reads.request({ clusterTime: 10n, within: BEFORE }, codec, () => false);
  expect([await last, opened.length, held().at(-1)]).toEqual([null, 2, 0]);
});

test("[G2] a server that hangs at the first batch has lost nothing: the stream is opened again once it answers", async () => {
  const stalls = [new StreamStalledError("no answer")];
  async function* open(from: bigint) {
    const stall = stalls.shift();
    if (stall !== undefined) throw stall;
    yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
  }
  const pings: (() => void)[] = [];
  const { reads, held } = newReads(open, { ping: () => new Promise((resolve) => pings.push(resolve)) });
  const asked = reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  await expect.poll(() => pings.length).toBe(1);
  pings[0]?.();
  const read = await asked;
  expect(await readUntil(read, 10n)).toEqual([10n]);
  read?.end();
  // A server that answers the ping, and still does not deliver, has too much to search.
  stalls.push(new StreamStalledError("no answer"), new StreamStalledError("again"));
  const other = reads.request({ clusterTime: 10n, within: BEFORE }, codec);
  await expect.poll(() => pings.length).toBe(2);
  pings[1]?.();
  await expect(other).rejects.toThrow("again");
  expect(held().at(-1)).toBe(0);
});

/** Streams of an oplog that does not reach back to positions before `oldest`. */
function streamsSince(oldest: bigint) {
  const opened: bigint[] = [];
  let running = 0;
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from);
    if (from < oldest) throw new MongoServerError({ message: "gone", code: 286 });
    running++;
    signal.addEventListener("abort", () => running--, { once: true });
    while (!signal.aborted)
      yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
  }
  return { opened, open, running: () => running };
}

test("[G6] the oldest position that the oplog contains is found in few attempts, however many positions are lost", async () => {
  const { opened, open, running } = streamsSince(2_000n);
  const { reads, held } = newReads(open);
  const ask = (clusterTime: bigint) => reads.request({ clusterTime, within: BEFORE }, codec);
  const asked = [...Array.from({ length: 1_000 }, (_, n) => 1_000n + BigInt(n)), 2_000n].map(ask);
  const read = await asked[1_000];
  expect(await Promise.all(asked.slice(0, 1_000))).toEqual(Array.from({ length: 1_000 }, () => null));
  expect(read).not.toBeNull();
  expect(opened.length).toBeLessThanOrEqual(12);
  // Those that come later need no attempt.
  const attempts = opened.length;
  expect(await Promise.all([ask(5n), ask(1_999n)])).toEqual([null, null]);
  expect([opened.length, running()]).toEqual([attempts, 1]);
  read?.end();
  expect([held().at(-1), running()]).toEqual([0, 0]);
});

test("all whose positions the oplog contains share the oldest of them, and two attempts are enough where it contains none", async () => {
  const { opened, open } = streamsSince(1_500n);
  const { reads } = newReads(open);
  const ask = (clusterTime: bigint) => reads.request({ clusterTime, within: BEFORE }, codec);
  const times = Array.from({ length: 1_000 }, (_, n) => 1_000n + BigInt(n));
  const found = await Promise.all(times.map(ask));
  expect(found.map((read) => read !== null)).toEqual(times.map((time) => time >= 1_500n));
  expect(opened.length).toBeLessThanOrEqual(12);
  for (const read of found) read?.end();
  const none = streamsSince(9_999n);
  const { reads: others, held } = newReads(none.open);
  const lost = times.map((clusterTime) => others.request({ clusterTime, within: BEFORE }, codec));
  expect((await Promise.all(lost)).every((read) => read === null)).toBe(true);
  expect([none.opened, held().at(-1)]).toEqual([[1_000n, 1_999n], 0]);
});

test("a fault while the oldest position is looked for leaves no stream behind", async () => {
  let left = 2;
  const { open, running } = streamsSince(2_000n);
  const { reads, held } = newReads((from, signal) => {
    if (left-- > 0) return open(from, signal);
    throw new RangeError("a bug");
  });
  const asked = [1_000n, 1_500n, 2_000n].map((clusterTime) =>
    reads.request({ clusterTime, within: BEFORE }, codec),
  );
  const outcomes = await Promise.allSettled(asked);
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
  expect([running(), held().at(-1)]).toEqual([0, 0]);
});
