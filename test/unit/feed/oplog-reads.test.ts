import { MongoNetworkError, MongoServerError } from "mongodb";
import { expect, test } from "vitest";
import { BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import { Limiter } from "../../../src/feed/limiter.ts";
import type { OplogRead } from "../../../src/feed/oplog-read.ts";
import { OplogReads } from "../../../src/feed/oplog-reads.ts";

const codec = new CursorCodec({ id: "00000000", cursorKey: Buffer.alloc(16, 1) });

test("limits.catchUpStreams: opens at most this many streams, and later requests share the next one", async () => {
  const opened: bigint[] = [];
  const held: number[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from);
    while (!signal.aborted) {
      yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
    }
  }
  const reads = new OplogReads(open, new Limiter({ most: 2 }), (count) => held.push(count));
  const ask = (clusterTime: bigint) => reads.request({ clusterTime, within: BEFORE }, codec);
  const first = await ask(10n);
  const second = await ask(20n);
  const waiting = [ask(40n), ask(30n)];
  expect(opened).toEqual([10n, 20n]);
  first?.end();
  const [fourth, third] = await Promise.all(waiting);
  // One stream for both, from the older position on.
  expect(opened).toEqual([10n, 20n, 30n]);
  expect(Math.max(...held)).toBe(2);
  for (const read of [second, third, fourth]) read?.end();
  expect(held.at(-1)).toBe(0);
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
  const held: number[] = [];
  const reads = new OplogReads(open, new Limiter({ most: 2 }), (count) => held.push(count), 10);
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
  expect(held.at(-1)).toBe(0);
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
  expect(held.at(-1)).toBe(0);
});
