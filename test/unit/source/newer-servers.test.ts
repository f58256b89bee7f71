/** Events as newer servers write them, by their documentation: no such server runs in these tests. */
import assert from "node:assert/strict";
import { BSON, MongoServerError, Timestamp } from "mongodb";
import { pino } from "pino";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { isChangeEvent } from "../../../src/source/change-event.ts";
import {
  changeStreamPipeline,
  type RawBatch,
  type RawChangeStream,
  type StreamStart,
} from "../../../src/source/change-stream.ts";
import { CommitIntake } from "../../../src/source/commit-intake.ts";
import { type CommitBatch, readCommits } from "../../../src/source/read-commits.ts";
import { classifyStreamError } from "../../../src/source/stream-errors.ts";
import { StreamPosition } from "../../../src/source/stream-position.ts";

const SECOND = 1_000;
const TIME = (BigInt(SECOND) << 32n) + 7n;

const hex = (value: number) => value.toString(16).padStart(8, "0");
/** The cluster time is in the first bytes of a token in every format; the rest is opaque. */
const tokenOf = (increment: number, rest: string) => ({ _data: `82${hex(SECOND)}${hex(increment)}${rest}` });
/** After the cluster time: format 1, and format 2 of MongoDB 7.0, each with the bytes of an event. */
const FORMATS = { 1: "2B042C0100296E5A1004", 2: "2B042C0102296E5A1004" } as const;

function insertOf(_id: number, increment: number, more: object = {}, rest: string = FORMATS[2]): Buffer {
  return Buffer.from(
    BSON.serialize({
      _id: tokenOf(increment, rest + hex(_id)),
      operationType: "insert",
      clusterTime: new Timestamp({ t: SECOND, i: increment }),
      ns: { db: "db", coll: "things" },
      documentKey: { _id },
      fullDocument: { _id },
      ...more,
    }),
  );
}

/** A recorded answer: its events, and its own token where it is not that of the last event. */
interface Answer {
  readonly events: readonly Buffer[];
  readonly post?: object;
  /** The server may have stopped for want of room. */
  readonly isFull?: boolean;
  readonly ended?: boolean;
}

const END: Answer = { events: [], ended: true };

const toRawBatch = ({ events, post, isFull = false, ended = false }: Answer): RawBatch => ({
  events,
  postBatchToken: post === undefined ? undefined : Buffer.from(BSON.serialize(post)),
  isFull,
  ended,
});

/** Reads recorded answers. @returns The batches, and how long the server was to wait for each answer. */
async function readAnswers(...answers: readonly Answer[]) {
  const left = [...answers];
  const waits: (number | undefined)[] = [];
  const next = async (awaitMs?: number) => {
    waits.push(awaitMs);
    return toRawBatch(left.shift() ?? END);
  };
  const found: CommitBatch[] = [];
  const stream = { next } as unknown as RawChangeStream; // what reading needs of it
  for await (const batch of readCommits(stream, new Set(["db.things"]))) found.push(batch);
  return { found, waits };
}

const read = async (events: readonly Buffer[], post?: object) =>
  (await readAnswers({ events, ...(post === undefined ? {} : { post }) })).found;

/** The `_id`s of the documents of each commit. */
const idsOf = ({ commits }: CommitBatch) =>
  commits.map(({ events }) =>
    events.map((event) => isChangeEvent(event) && BSON.deserialize(event.documentKey)["_id"]),
  );

test("8.0: events of one cluster time that name no transaction are commits of their own, in order", async () => {
  const found = await read([insertOf(1, 7), insertOf(2, 7), insertOf(3, 7)]);
  expect(found[0]?.commits.map(({ events }) => events.length)).toEqual([1, 1, 1]);
  expect(found[0]?.commits.map(({ clusterTime }) => clusterTime)).toEqual([TIME, TIME, TIME]);
});

test("8.0: a cluster time counts as seen only when the rest of a full batch's last cluster time has come", async () => {
  const { found, waits } = await readAnswers(
    { events: [insertOf(1, 6), insertOf(2, 7), insertOf(3, 7)], isFull: true },
    { events: [insertOf(4, 7), insertOf(5, 8)] },
  );
  expect(found.map(idsOf)).toEqual([[[1]], [[2], [3], [4], [5]], []]);
  expect(found.map(({ through }) => through)).toEqual([TIME - 1n, TIME + 1n, TIME + 1n]);
  // The server is asked for the rest at once.
  expect(waits).toEqual([undefined, 1, undefined]);
  // A restart in between reads the whole cluster time: none of its events is lost, and none was handed on before.
  expect(found[0]?.resumeToken).toEqual(Buffer.from(BSON.serialize(tokenOf(6, FORMATS[2] + hex(1)))));
});

test("8.0: no resumption begins inside a cluster time that fills several batches", async () => {
  const { found } = await readAnswers(
    { events: [insertOf(1, 7), insertOf(2, 7)], post: tokenOf(7, FORMATS[2] + hex(2)), isFull: true },
    { events: [insertOf(3, 7), insertOf(4, 7)], post: tokenOf(7, FORMATS[2] + hex(4)), isFull: true },
    { events: [], post: tokenOf(7, FORMATS[2] + hex(4)) },
  );
  expect(found.map(idsOf)).toEqual([[], [], [[1], [2], [3], [4]], []]);
  expect(found.slice(0, 3).map(({ resumeToken }) => resumeToken === undefined)).toEqual([true, true, false]);
  expect(found.map(({ through }) => through)).toEqual([TIME - 1n, TIME - 1n, TIME, TIME]);
});

test("8.0: events of collections that are not watched hold their cluster time back as well", async () => {
  const other = insertOf(2, 7, { ns: { db: "db", coll: "others" } });
  const { found } = await readAnswers(
    { events: [insertOf(1, 6), other], isFull: true },
    { events: [insertOf(3, 7)] },
  );
  expect(found.map(idsOf)).toEqual([[[1]], [[3]], []]);
  expect(found[0]?.through).toBe(TIME - 1n);
});

test("8.0: a stream that breaks inside a cluster time hands none of its events on", async () => {
  const { found } = await readAnswers({ events: [insertOf(1, 7), insertOf(2, 7)], isFull: true }, END);
  expect(found.flatMap(idsOf)).toEqual([]);
  expect(found.map(({ through }) => through)).toEqual([TIME - 1n, TIME - 1n]);
});

/** A server that gives the recorded events from any start, in batches of two; it breaks after some answers. */
function recordedServer(events: readonly Buffer[]) {
  const tokensOf = events.map((event) => BSON.deserialize(event)["_id"]);
  const timesOf = events.map((event) => BSON.deserialize(event, { promoteValues: false })["clusterTime"]);
  const after = (start: StreamStart) => {
    if ("resumeAfter" in start) {
      const token = JSON.stringify(BSON.deserialize(start.resumeAfter));
      return tokensOf.findIndex((known) => JSON.stringify(known) === token) + 1;
    }
    assert("atTime" in start);
    return timesOf.findIndex((time) => time.toBigInt() >= start.atTime);
  };
  return (start: StreamStart, answersMax: number): RawChangeStream => {
    let at = after(start);
    let answers = 0;
    const next = async (): Promise<RawBatch> => {
      if (answers++ === answersMax) throw new Error("the connection broke");
      const part = events.slice(at, at + 2);
      at += part.length;
      return toRawBatch({ events: part, isFull: part.length === 2 });
    };
    return { next } as unknown as RawChangeStream; // what reading needs of it
  };
}

const BULKS = [
  insertOf(1, 5),
  ...[2, 3, 4].map((_id) => insertOf(_id, 6)),
  insertOf(5, 7),
  ...[6, 7, 8, 9, 10].map((_id) => insertOf(_id, 8)),
  insertOf(11, 9),
];

const idOfEvent = (event: Buffer): number => BSON.deserialize(event)["documentKey"]._id;
const timeOfEvent = (event: Buffer): bigint =>
  BSON.deserialize(event, { promoteValues: false })["clusterTime"].toBigInt();

/** Takes all that a stream gives before it breaks or ends, and holds each position to what it promises. */
async function takeAll(
  stream: RawChangeStream,
  { position, taken }: { position: StreamPosition; taken: number[] },
): Promise<bigint[]> {
  const saved: bigint[] = [];
  const sink = {
    accept: async (batch: CommitBatch) => {
      taken.push(...(idsOf(batch).flat() as number[])); // `_id`s of these tests
    },
  };
  const checkpoints = { note: ({ clusterTime }: { clusterTime: bigint }) => saved.push(clusterTime) };
  const log = pino({ level: "silent" });
  const intake = new CommitIntake({ sink, position, checkpoints, log, metrics: createMetrics() });
  try {
    for await (const batch of readCommits(stream, new Set(["db.things"]))) {
      await intake.take(batch, { epoch: "e", fingerprint: "f" });
      expect(taken).toEqual(BULKS.filter((event) => timeOfEvent(event) <= position.through).map(idOfEvent));
    }
  } catch (error) {
    if (!String(error).includes("the connection broke")) throw error;
  }
  return saved;
}

test.each(Array.from({ length: 8 }, (_, answers) => answers))(
  "8.0: a stream that breaks after %i answers, inside a cluster time or not, continues without a gap or a repetition",
  async (answers) => {
    const open = recordedServer(BULKS);
    const whole = BULKS.map(idOfEvent);
    const position = new StreamPosition();
    position.begin(timeOfEvent(insertOf(1, 5)));
    const taken: number[] = [];
    const saved = await takeAll(open(position.next, answers), { position, taken });
    // Another process begins at the checkpoint. Its clients hold what was taken before.
    const from = saved.at(-1);
    const restarted = new StreamPosition();
    restarted.begin(from ?? timeOfEvent(insertOf(1, 5)));
    const before = BULKS.filter((event) => timeOfEvent(event) < (from ?? 0n)).map(idOfEvent);
    const again = [...before];
    await takeAll(open(restarted.next, 100), { position: restarted, taken: again });
    expect(again).toEqual(whole);
    // The same process opens the stream at its position.
    await takeAll(open(position.next, 100), { position, taken });
    expect(taken).toEqual(whole);
    // And by time, as it does when other collections are watched.
    position.openByTime();
    await takeAll(open(position.next, 100), { position, taken });
    expect(taken).toEqual(whole);
  },
);

test("8.0: an invalidate event hands on what its cluster time has held back", async () => {
  const drop = insertOf(2, 7, { operationType: "drop", documentKey: undefined });
  const invalidate = insertOf(3, 7, { operationType: "invalidate" });
  const { found } = await readAnswers(
    { events: [insertOf(1, 7)], isFull: true },
    { events: [drop, invalidate], isFull: true },
  );
  expect(found.map(({ commits }) => commits.length)).toEqual([0, 2]);
  expect(found[1]?.invalidated).toBeDefined();
});

test("a full batch whose own token lies later holds nothing back", async () => {
  const { found, waits } = await readAnswers({
    events: [insertOf(1, 7)],
    post: tokenOf(8, FORMATS[2]),
    isFull: true,
  });
  expect(found[0]).toMatchObject({ through: TIME + 1n });
  expect(found.map(idsOf)).toEqual([[[1]], []]);
  expect(waits).toEqual([undefined, undefined]);
});

test.each(Object.keys(FORMATS))(
  "7.0: the time of a token in format %s is read, and the token is passed on whole",
  async (format) => {
    const post = tokenOf(9, FORMATS[Number(format) as keyof typeof FORMATS]);
    const [batch] = await read([], post);
    expect(batch?.through).toBe(TIME + 2n);
    expect(batch?.resumeToken).toEqual(Buffer.from(BSON.serialize(post)));
  },
);

test("8.1 and newer: fields that this version does not know change nothing", async () => {
  const more = { nsType: "collection", collectionUUID: "x", wallTime: new Date(0) };
  const found = await read([insertOf(1, 7, more)]);
  expect(found[0]?.commits.map(({ events }) => events.length)).toEqual([1]);
});

const recordedError = (code: number, codeName: string, ...errorLabels: string[]) =>
  new MongoServerError({ ok: 0, code, codeName, errmsg: codeName, errorLabels });

test("6.0.9 and newer: no split event is asked for, and an event that is too large is a lost position", () => {
  const options = { images: true, database: "db", namespaces: ["db.things"], batchSize: 1_000 };
  const waits = { maxAwaitMs: 1_000, stallTimeoutMs: 1_000 };
  const stages = changeStreamPipeline({ now: true }, { ...options, ...waits }).flatMap(Object.keys);
  expect(stages).toEqual(["$changeStream", "$match", "$set", "$unset"]);
  expect(classifyStreamError(recordedError(10_334, "BSONObjectTooLarge"))).toBe("position-lost");
});

test("9.0: an event of the placement of a collection is no commit, and the stream moves on with it", async () => {
  const moved = { operationType: "namespacePlacementChanged", documentKey: undefined };
  const found = await read([insertOf(1, 6), insertOf(2, 7, moved), insertOf(3, 8)]);
  expect(found.map(idsOf)).toEqual([[[1], [3]], []]);
  const [placed] = await read([insertOf(2, 7, moved)]);
  expect(placed).toMatchObject({ commits: [], through: TIME, resumeToken: expect.any(Uint8Array) });
});

test("9.0: a stream that mongos ends to read it in another way is opened again at its position", () => {
  const error = recordedError(234, "RetryChangeStream", "ResumableChangeStreamError");
  expect(classifyStreamError(error)).toBe("resumable");
});
