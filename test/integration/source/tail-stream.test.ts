/** Entries of the tail in a real Redis, as leaders that are late, replaced or interrupted leave them. */
import * as redisPackage from "@redis/client";
import { BSON, Timestamp } from "mongodb";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { redisProblem } from "../../../src/source/tail/redis-check.ts";
import { loadRedis, RedisConnection, RedisError } from "../../../src/source/tail/redis-connection.ts";
import { encodeEntry, type TailEntry } from "../../../src/source/tail/tail-entry.ts";
import { READ_COUNT, StaleAppendError, TailLog } from "../../../src/source/tail/tail-log.ts";
import { TailStream } from "../../../src/source/tail/tail-stream.ts";
import { PART_BYTES, TailWriter } from "../../../src/source/tail/tail-writer.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { freePort } from "../../support/mongod.ts";
import { Redis } from "../../support/redis.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

const eventAt = (clusterTime: number) =>
  Buffer.from(BSON.serialize({ operationType: "insert", clusterTime: new Timestamp(BigInt(clusterTime)) }));
const timesOf = (events: readonly Uint8Array[]) =>
  events.map((event) => Number((BSON.deserialize(event)["clusterTime"] as Timestamp).toBigInt()));

type Sketch = Partial<TailEntry> & { readonly times?: readonly number[] };

const toEntry = ({ times = [], ...fields }: Sketch): TailEntry => ({
  from: 0n,
  to: 0n,
  part: 0,
  isLast: true,
  isCut: false,
  resumeToken: undefined,
  readAtMs: Date.now(),
  totalBytes: 0,
  events: times.map(eventAt),
  ...fields,
});

async function startTail(skip: TestContext["skip"]) {
  const redis = await Redis.start(skip);
  const open = async () => {
    const log = new TailLog(await RedisConnection.open(redisPackage, redis.url), "tail");
    onTestFinished(() => log.close());
    return log;
  };
  const log = await open();
  const append = (id: string, sketch: Sketch) => {
    const [clusterTime = "", index = ""] = id.split("-");
    return log.append(
      { clusterTime: BigInt(clusterTime), index: BigInt(index) },
      encodeEntry(toEntry(sketch)),
    );
  };
  const follow = async (from: number) =>
    TailStream.open(
      BigInt(from),
      { joinMs: 100, slowMs: 2_000 },
      { log: await open(), serverNowMs: () => Date.now(), onLag: () => {} },
    );
  return { redis, open, log, append, follow };
}

const lossOf = (reason: string) => expect.objectContaining({ name: "TailLostError", reason });

test("a stream begins with the cluster time that was asked for, inclusive, whatever the entry around it contains", async ({
  skip,
}) => {
  const { append, follow } = await startTail(skip);
  await append("10-0", { from: 3n, to: 10n, times: [4, 7, 10] });
  await append("20-0", { from: 10n, to: 20n, times: [11, 15] });
  for (const [from, expected] of [
    [4, [4, 7, 10, 11, 15]],
    [5, [7, 10, 11, 15]],
    [7, [7, 10, 11, 15]],
    [10, [10, 11, 15]],
    [11, [11, 15]],
    [15, [15]],
    [16, []],
    [20, []],
  ] as const) {
    const stream = await follow(from);
    expect(timesOf((await stream.next()).events), `from ${from}`).toEqual(expected);
  }
  await expect(follow(21)).rejects.toEqual(lossOf("behind"));
  await expect(follow(3)).rejects.toEqual(lossOf("trimmed"));
});

test("overlapping entries of two leaders give each event once", async ({ skip }) => {
  const { append, follow } = await startTail(skip);
  await append("10-0", { from: 0n, to: 10n, times: [3, 10] });
  await append("20-0", { from: 10n, to: 20n, times: [12, 20] });
  await append("20-1", { from: 5n, to: 20n, times: [10, 12, 20] });
  await append("20-2", { from: 20n, to: 20n });
  await append("25-0", { from: 15n, to: 25n, times: [20, 22, 25] });
  const stream = await follow(1);
  expect(timesOf((await stream.next()).events)).toEqual([3, 10, 12, 20, 22, 25]);
});

test("Redis refuses the entry of a leader that is behind", async ({ skip }) => {
  const { append } = await startTail(skip);
  await append("20-1", { from: 0n, to: 20n });
  await expect(append("20-1", { from: 0n, to: 20n })).rejects.toBeInstanceOf(StaleAppendError);
  await expect(append("19-9", { from: 0n, to: 19n })).rejects.toBeInstanceOf(StaleAppendError);
});

test("a large entry arrives as a whole, also when its leader has ended within it and another one begins it again", async ({
  skip,
}) => {
  const { append, follow } = await startTail(skip);
  await append("10-0", { from: 0n, to: 10n, part: 0, isLast: false, times: [2] });
  await append("10-1", { from: 0n, to: 10n, part: 1, isLast: false, times: [3] });
  const stream = await follow(1);
  const arrived = stream.next();
  await append("10-2", { from: 0n, to: 10n, part: 0, isLast: false, times: [2] });
  await append("10-3", { from: 0n, to: 10n, part: 1, isLast: false, times: [3] });
  await append("10-4", { from: 0n, to: 10n, part: 2, isLast: true, times: [10] });
  expect(timesOf((await arrived).events)).toEqual([2, 3, 10]);
});

test.for<[name: string, reason: string, id: string, sketch: Sketch]>([
  ["after a gap", "gap", "30-0", { from: 21n, to: 30n }],
  ["that is a part without those before it", "gap", "30-0", { from: 20n, to: 30n, part: 1 }],
  ["that is two seconds late", "slow", "30-0", { from: 20n, to: 30n, readAtMs: Date.now() - 600_000 }],
])("a stream ends at an entry %s", async ([_name, reason, id, sketch], { skip }) => {
  const { append, follow } = await startTail(skip);
  await append("20-0", { from: 0n, to: 20n, times: [20] });
  const stream = await follow(20);
  expect(timesOf((await stream.next()).events)).toEqual([20]);
  const ended = expect(stream.next()).rejects.toEqual(lossOf(reason));
  // The stream waits for the entry, as it does in a tail that is current.
  await new Promise((resolve) => setTimeout(resolve, 100));
  await append(id, sketch);
  await ended;
});

test("a stream without entries ends within seconds", async ({ skip }) => {
  const { append, follow } = await startTail(skip);
  await append("20-0", { from: 0n, to: 20n });
  const stream = await follow(20);
  await stream.next();
  await expect(stream.next()).rejects.toEqual(lossOf("silent"));
});

test("a new leader continues a tail after its last whole range, and clears one that it cannot read", async ({
  skip,
}) => {
  const { append, log, redis } = await startTail(skip);
  const { metrics } = guardParts();
  const open = () => TailWriter.open({ log, bytes: 1_000_000, serverNowMs: () => Date.now(), metrics });
  expect((await open()).reached).toBeNull();
  await append("20-0", { from: 0n, to: 20n, totalBytes: 500 });
  const { writer, reached } = await open();
  expect(reached).toBe(20n);
  await writer.append({ from: 20n, to: 20n, events: [], resumeToken: undefined });
  expect(await log.last()).toMatchObject({ id: { clusterTime: 20n, index: 1n }, entry: { totalBytes: 756 } });
  await append("30-0", { from: 20n, to: 30n, isLast: false });
  expect((await open()).reached).toBe(20n);
  await redis.ask("XADD", "tail", "40-0", "other", "fields");
  expect((await open()).reached).toBeNull();
  expect(await log.length()).toBe(0);
});

test("no error of a connection contains the password", async ({ skip }) => {
  const password = "p%40ss-word";
  const redis = await Redis.start(skip, ["--requirepass", "another"]);
  const url = `redis://user:${password}@127.0.0.1:${redis.port}`;
  const refused = await redisProblem(redisPackage, url);
  expect(refused).toContain("check user, password");
  const unreachable = await redisProblem(
    redisPackage,
    `redis://user:${password}@127.0.0.1:${await freePort()}`,
  );
  expect(unreachable).toContain("check host, port");
  expect(`${refused} ${unreachable}`).not.toMatch(/p%40ss|p@ss/);
  expect(
    await redisProblem(await loadRedis("mongodb.tail"), `redis://:another@127.0.0.1:${redis.port}`),
  ).toBeNull();
});

test("a command that Redis refuses leaves the connection open, and one without an answer closes it", async ({
  skip,
}) => {
  const redis = await Redis.start(skip);
  const connection = await RedisConnection.open(redisPackage, redis.url);
  onTestFinished(() => connection.close());
  await expect(connection.command(["NONSENSE"])).rejects.toMatchObject({ problem: "refused" });
  expect(connection.isOpen).toBe(true);
  redis.signal("SIGSTOP");
  await expect(connection.command(["PING"])).rejects.toMatchObject({ problem: "no-answer" });
  expect(connection.isOpen).toBe(false);
  await expect(connection.command(["PING"])).rejects.toBeInstanceOf(RedisError);
  redis.signal("SIGCONT");
});

test("large events arrive whole, no entry has more than a mebibyte of events, and no read more than sixteen", async ({
  skip,
}) => {
  const { open, log, redis, follow } = await startTail(skip);
  const { metrics } = guardParts();
  const parts = { log, bytes: 256 * 1024 * 1024, serverNowMs: () => Date.now(), metrics };
  const { writer } = await TailWriter.open(parts);
  const large = (time: number, bytes: number) =>
    Buffer.from(
      BSON.serialize({
        clusterTime: new Timestamp(BigInt(time)),
        operationType: "insert",
        text: "x".repeat(bytes),
      }),
    );
  const events = [
    eventAt(5),
    large(6, 15 * PART_BYTES),
    large(7, PART_BYTES / 2),
    large(8, 2 * PART_BYTES),
    eventAt(9),
  ];
  await writer.append({ from: 0n, to: 9n, events, resumeToken: undefined });
  for (let time = 10; time < 50; time++)
    await writer.append({
      from: BigInt(time - 1),
      to: BigInt(time),
      events: [large(time, PART_BYTES - 200)],
      resumeToken: undefined,
    });
  for (const entry of (await redis.ask("XRANGE", "tail", "-", "+", "COUNT", "5")) as [string, string[]][])
    expect(entry[1].reduce((sum, { length }) => sum + length, 0)).toBeLessThan(PART_BYTES + 1_000);
  const reads = (await (await open()).read({ clusterTime: 9n, index: 2n ** 64n - 1n }, 100)).length;
  expect(reads).toBe(READ_COUNT);
  const stream = await follow(1);
  const received: Buffer[] = [];
  while (received.length < events.length + 40) {
    const batch = await stream.next();
    expect(batch.events.length).toBeLessThanOrEqual(READ_COUNT + events.length);
    received.push(...batch.events);
  }
  expect(received.slice(0, events.length).map((event, at) => event.equals(events[at] as Buffer))).toEqual(
    events.map(() => true),
  );
  expect(timesOf(received.slice(events.length))).toEqual(Array.from({ length: 40 }, (_, n) => 10 + n));
});

test("an event whose last slice is missing makes the entry unreadable", async ({ skip }) => {
  const { append, follow } = await startTail(skip);
  await append("10-0", { from: 0n, to: 10n, times: [3] });
  await append("20-0", { from: 10n, to: 20n, isCut: true, events: [Buffer.from([200, 0, 0, 0, 1, 2])] });
  const stream = await follow(1);
  await expect(stream.next()).rejects.toEqual(lossOf("unreadable"));
});

test("a stream that is behind reads old entries however long each read takes, and is not called slow", async ({
  skip,
}) => {
  const { redis, append } = await startTail(skip);
  const proxy = await TcpProxy.start(redis.port);
  proxy.slowDown(20); // longer than a read that finds entries usually takes
  const startedAtMs = Date.now();
  const old = startedAtMs - 600_000;
  for (let time = 1; time <= 40; time++)
    await append(`${time}-0`, { from: BigInt(time - 1), to: BigInt(time), times: [time], readAtMs: old });
  await append("41-0", { from: 40n, to: 41n, times: [41] });
  const url = `redis://127.0.0.1:${proxy.port}`;
  const log = new TailLog(await RedisConnection.open(redisPackage, url), "tail");
  onTestFinished(() => log.close());
  const parts = { log, serverNowMs: () => startedAtMs, onLag: () => {} };
  const stream = await TailStream.open(1n, { joinMs: 1_000, slowMs: 2_000 }, parts);
  const received: number[] = [];
  while (received.length < 41) received.push(...timesOf((await stream.next()).events));
  expect(received).toEqual(Array.from({ length: 41 }, (_, n) => n + 1));
});
