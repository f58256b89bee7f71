import { BSON, Long, Timestamp } from "mongodb";
import { expect, test } from "vitest";
import type { RawBatch, RawChangeStream } from "../../../src/source/change-stream.ts";
import { type CommitBatch, readCommits } from "../../../src/source/read-commits.ts";

const SECOND = 1_000;
const timeOf = (increment: number) => (BigInt(SECOND) << 32n) + BigInt(increment);

/** A resume token as servers write it: the cluster time in its first bytes. */
function tokenOf(increment: number, rest = "00"): Buffer {
  const hex = (value: number) => value.toString(16).padStart(8, "0");
  return Buffer.from(BSON.serialize({ _data: `82${hex(SECOND)}${hex(increment)}${rest}` }));
}

/** An insert of `_id` into `db.things`, alone or in a transaction. */
function insertOf(_id: number, increment: number, transaction?: number): Buffer {
  const event = {
    _id: BSON.deserialize(tokenOf(increment, String(_id).padStart(2, "0"))),
    operationType: "insert",
    clusterTime: new Timestamp({ t: SECOND, i: increment }),
    ns: { db: "db", coll: "things" },
    documentKey: { _id },
    fullDocument: { _id },
    ...(transaction === undefined
      ? {}
      : { lsid: { id: "session" }, txnNumber: Long.fromNumber(transaction) }),
  };
  return Buffer.from(BSON.serialize(event));
}

const batch = (events: readonly Buffer[], post?: number): RawBatch => ({
  events,
  postBatchToken: post === undefined ? undefined : tokenOf(post),
  isFull: false,
  ended: false,
});

/** A stream that answers with these batches, and then ends. */
function scripted(...batches: readonly RawBatch[]) {
  const waits: (number | undefined)[] = [];
  const left = [...batches];
  const next = async (maxAwaitMs?: number) => {
    waits.push(maxAwaitMs);
    return left.shift() ?? { events: [], postBatchToken: undefined, isFull: false, ended: true };
  };
  return { stream: { next } as unknown as RawChangeStream, waits }; // what reading needs of it
}

async function read(...batches: readonly RawBatch[]) {
  const { stream, waits } = scripted(...batches);
  const found: CommitBatch[] = [];
  for await (const commits of readCommits(stream, new Set(["db.things"]))) found.push(commits);
  return { found, waits };
}

const sizesOf = (found: readonly CommitBatch[]) =>
  found.map(({ commits }) => commits.map(({ events }) => events.length));

test("each write outside a transaction is a commit, and the stream moves on with the last one", async () => {
  const { found } = await read(batch([insertOf(1, 1), insertOf(2, 2)], 2));
  expect(sizesOf(found)).toEqual([[1, 1], []]);
  expect(found[0]).toMatchObject({ through: timeOf(2), resumeToken: expect.any(Uint8Array) });
});

test("the time of an open transaction has not been seen, however many of its events have come", async () => {
  const { found, waits } = await read(
    batch([insertOf(1, 1), insertOf(2, 5, 7)]),
    batch([insertOf(3, 5, 7)]),
    batch([], 5),
  );
  expect(sizesOf(found)).toEqual([[1], [], [2], []]);
  expect(found.map(({ through }) => through)).toEqual([timeOf(5) - 1n, timeOf(5) - 1n, timeOf(5), timeOf(5)]);
  // While a transaction is open, the server is asked at once whether there is more of it.
  expect(waits).toEqual([undefined, 1, 1, undefined]);
});

test("no resumption begins inside a transaction: the token is that of the event before it", async () => {
  const { found } = await read(
    batch([insertOf(1, 1), insertOf(2, 5, 7)], 5),
    batch([insertOf(3, 5, 7)], 5),
    batch([], 6),
  );
  const tokens = found.map(({ resumeToken }) => resumeToken && Buffer.from(resumeToken));
  expect(tokens[0]).toEqual(tokenOf(1, "01"));
  expect(tokens[1]).toBeUndefined();
  expect(tokens[2]).toEqual(tokenOf(6));
});

test("an event of another transaction, or of none, completes the one that is open", async () => {
  const { found } = await read(
    batch([insertOf(1, 5, 7), insertOf(2, 5, 7), insertOf(3, 6, 8), insertOf(4, 7)], 7),
  );
  expect(sizesOf(found)).toEqual([[2, 1, 1], []]);
  expect(found[0]?.through).toBe(timeOf(7));
});

test("a transaction that ends with its batch is not read again: the token is that of its last event", async () => {
  const { found } = await read(batch([insertOf(1, 5, 7)]), batch([insertOf(2, 6, 8)]), batch([], 6));
  expect(sizesOf(found)).toEqual([[], [1], [1], []]);
  expect(found[1]?.resumeToken && Buffer.from(found[1].resumeToken)).toEqual(tokenOf(5, "01"));
});

test("an idle stream moves on with the server's own token", async () => {
  const { found } = await read(batch([], 9));
  expect(found[0]).toMatchObject({ commits: [], through: timeOf(9) });
});

test("writes to collections that are not watched are no commits, but are seen", async () => {
  const other = BSON.deserialize(insertOf(1, 4));
  other["ns"] = { db: "db", coll: "others" };
  const { found } = await read(batch([Buffer.from(BSON.serialize(other))]));
  expect(found[0]).toMatchObject({ commits: [], through: timeOf(4) });
});

test("after an invalidate event nothing more is read", async () => {
  const invalidate = BSON.deserialize(insertOf(1, 3));
  invalidate["operationType"] = "invalidate";
  const { found } = await read(batch([Buffer.from(BSON.serialize(invalidate))]), batch([insertOf(2, 4)]));
  expect(found).toMatchObject([{ commits: [], invalidated: expect.any(Uint8Array) }]);
});

test("a batch that only completes the cluster time before it has the token of that time", async () => {
  const { found } = await read(
    { ...batch([insertOf(1, 1), insertOf(2, 2)]), isFull: true },
    batch([insertOf(3, 3, 7)]),
    batch([insertOf(4, 3, 7)]),
  );
  const [first, second] = found;
  expect(sizesOf(found).slice(0, 2)).toEqual([[1], [1]]);
  expect(first?.resumeToken).toEqual(tokenOf(1, "01"));
  // Without it, a reconnection would deliver the second insert again.
  expect(second?.resumeToken).toEqual(tokenOf(2, "02"));
});
