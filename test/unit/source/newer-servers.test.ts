/** Events as newer servers write them, by their documentation: no such server runs in these tests. */
import { BSON, Timestamp } from "mongodb";
import { expect, test } from "vitest";
import type { RawBatch, RawChangeStream } from "../../../src/source/change-stream.ts";
import { type CommitBatch, readCommits } from "../../../src/source/read-commits.ts";

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

async function read(events: readonly Buffer[], post?: object): Promise<CommitBatch[]> {
  const postBatchToken = post === undefined ? undefined : Buffer.from(BSON.serialize(post));
  const left: RawBatch[] = [{ events, postBatchToken, ended: false }];
  const next = async () => left.shift() ?? { events: [], postBatchToken: undefined, ended: true };
  const found: CommitBatch[] = [];
  const stream = { next } as unknown as RawChangeStream; // what reading needs of it
  for await (const batch of readCommits(stream, new Set(["db.things"]))) found.push(batch);
  return found;
}

test("8.0: events of one cluster time that name no transaction are commits of their own, in order", async () => {
  const found = await read([insertOf(1, 7), insertOf(2, 7), insertOf(3, 7)]);
  expect(found[0]?.commits.map(({ events }) => events.length)).toEqual([1, 1, 1]);
  expect(found[0]?.commits.map(({ clusterTime }) => clusterTime)).toEqual([TIME, TIME, TIME]);
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
  const more = { nsType: "collection", collectionUUID: "x", splitEvent: undefined, wallTime: new Date(0) };
  const found = await read([insertOf(1, 7, more)]);
  expect(found[0]?.commits.map(({ events }) => events.length)).toEqual([1]);
});
