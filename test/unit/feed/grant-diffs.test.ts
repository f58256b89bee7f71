import { MongoNetworkError } from "mongodb";
import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { canMove, type GrantMove } from "../../../src/feed/grant-diff.ts";
import { GrantDiffs } from "../../../src/feed/grant-diffs.ts";
import type { LiveQuerySpec } from "../../../src/feed/live-query-spec.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { recordingLog } from "../../support/node.ts";
import { follow } from "../../support/recorder.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

/** Two live queries of one feed, and the differences between them, read from answers of the test. */
async function start(from: LiveQuerySpec, to: LiveQuerySpec, mostDocuments = 10, mostBytes = 1_048_576) {
  let chargedBytes = 0;
  const noted: Account[] = [];
  const reader = new ScriptedReader();
  const { feed, accept } = await startFeed(reader, { history: { bytes: 1_048_576 } });
  const [old, now] = [await follow(feed, from), await follow(feed, to)].map(
    ({ delivery }) => delivery.liveQuery,
  );
  await settled();
  if (old === undefined || now === undefined) throw new Error("there are two");
  reader.reads.length = 0;
  const { log, warnings } = recordingLog();
  const grants = new GrantDiffs(mostDocuments, {
    reader,
    timeline: feed.timeline,
    cursors: feed.cursors,
    snapshots: { runWanted: (_turn, work) => work(new AbortController().signal), checkIndex: async () => {} },
    chargeReading: () => {
      let held = 0;
      const grow = (bytes: number) => {
        held += bytes;
        chargedBytes += bytes;
      };
      return {
        add: (bytes) => {
          if (chargedBytes + bytes > mostBytes) throw new TidewireError("too-many-subscriptions", "full");
          grow(bytes);
        },
        sub: (bytes) => grow(-bytes),
        moveTo: () => true,
        release: () => grow(-held),
      };
    },
    noteRights: (account) => void noted.push(account),
    newSlices: () => new Slices(50, { now: () => 0, yield: async () => {} }),
    detached: () => old,
    log,
  });
  const move = (held: GrantMove["held"] = []): GrantMove => ({
    from: old,
    to: now,
    at: feed.cursors.grantPoint(null),
    held,
  });
  const typesOf = async (given = move()) =>
    (await grants.read(given, USER, always))?.changes.map(({ type }) => type) ?? null;
  const charged = () => chargedBytes;
  return { reader, feed, accept, grants, old, now, move, typesOf, warnings, noted, charged };
}

const USER = new Account(FeedLimits.parse({}), () => {});
const always = () => true;

const ROOM_A = specOf({ room: "a" });
const ROOM_B = specOf({ room: "b" });

test("removes what left, and adds what came into sight, as of the very point of the change", async () => {
  const { reader, accept, typesOf } = await start(ROOM_A, ROOM_B);
  await accept(commitOf(1));
  const answers = [[{ _id: 1 }], [{ _id: 2 }, { _id: 3 }]];
  reader.answer = () => answers.shift() ?? [];
  expect(await typesOf()).toEqual(["removed", "added", "added"]);
  expect(reader.reads.map(({ how, at }) => [how, at])).toEqual([
    ["readAt", FROM + 1n],
    ["readAt", FROM + 1n],
  ]);
});

test("a difference of more documents than limits.snapshotDocuments is not sent", async () => {
  const { reader, typesOf } = await start(ROOM_A, ROOM_B, 2);
  const pair = [{ _id: 1 }, { _id: 2 }];
  reader.answer = () => pair;
  expect(await typesOf()).toHaveLength(4);
  reader.answer = () => [...pair, { _id: 3 }];
  expect(await typesOf()).toBeNull();
});

test("[G6] the documents of a difference are charged until the last client has them, and one that is too large is not kept", async () => {
  const { reader, grants, move, charged } = await start(ROOM_A, ROOM_B, 1_000, 10_000);
  reader.answer = ({ query }) =>
    query.projection === undefined ? [{ _id: 1, pad: "x".repeat(4_000) }] : [{ _id: 2 }];
  const given = move();
  const [one, two] = await Promise.all([grants.read(given, USER, always), grants.read(given, USER, always)]);
  expect(one?.changes).toHaveLength(2);
  const bytes = charged();
  expect(bytes).toBeGreaterThan(4_000);
  one?.release();
  one?.release();
  expect(charged()).toBe(bytes);
  two?.release();
  expect(charged()).toBe(0);
  reader.answer = () => Array.from({ length: 100 }, (_, _id) => ({ _id, pad: "x".repeat(4_000) }));
  expect(await grants.read(move(), USER, always)).toBeNull();
  expect(charged()).toBe(0);
});

test("documents that the commit itself touched follow from their images, under the rights before and after it", async () => {
  const { feed, reader, accept, move, typesOf } = await start(ROOM_A, ROOM_B);
  await accept(
    commitOf(1, [
      eventOf({ _id: 1, room: "a" }, { _id: 1, room: "c" }),
      eventOf({ _id: 2, room: "a" }, { _id: 2, room: "b" }),
      insertOf({ _id: 3, room: "b" }),
      insertOf({ _id: 4, room: "a" }),
    ]),
  );
  const [entry] = feed.timeline.history.after(0);
  if (entry === undefined) throw new Error("there is one");
  // The reads find the touched documents as well, which must not come twice.
  const answers = [[{ _id: 1 }], [{ _id: 2 }, { _id: 3 }]];
  reader.answer = () => answers.shift() ?? [];
  const at = feed.cursors.grantPoint(entry);
  expect(await typesOf({ ...move(), at })).toEqual(["removed", "changed", "added"]);
});

test("clients whose rights change alike at one point share one read", async () => {
  const { reader, grants, move } = await start(ROOM_A, ROOM_B);
  const given = move();
  const [one, two] = await Promise.all([grants.read(given, USER, always), grants.read(given, USER, always)]);
  expect(two?.changes).toBe(one?.changes);
  expect(reader.reads).toHaveLength(2);
});

test("where MongoDB does not answer, the result is read again; a bug stays an error", async () => {
  const { reader, grants, move, typesOf, warnings } = await start(ROOM_A, ROOM_B);
  reader.answer = () => {
    throw new MongoNetworkError("gone");
  };
  expect(await typesOf()).toBeNull();
  expect(warnings()).toHaveLength(1);
  reader.answer = () => {
    throw new TypeError("a bug");
  };
  await expect(grants.read(move(), USER, always)).rejects.toThrow("a bug");
});

test("a client that comes back receives the result of what it missed, not the changes one by one", async () => {
  const { grants, accept, now, typesOf } = await start(ROOM_A, ROOM_B);
  await accept(commitOf(1, [insertOf({ _id: 1, room: "a" })]));
  await accept(commitOf(2, [eventOf({ _id: 1, room: "a" }, { _id: 1, room: "b" })]));
  await accept(commitOf(3, [insertOf({ _id: 2, room: "b" })]));
  await accept(commitOf(4, [eventOf({ _id: 2, room: "b" }, null)]));
  const missed = grants.moveSince(ROOM_A, now, 0, true);
  if (missed === null) throw new Error("not too much has happened");
  expect(await typesOf(missed)).toEqual(["added"]);
  expect(grants.moveSince(ROOM_A, now, -1, true)).toBeNull();
});

const padded = (_id: number, room: string, bytes = 4_000) => ({ _id, room, pad: "x".repeat(bytes) });

test("[G6] documents of missed commits are charged until the client has the difference, and too many are not kept", async () => {
  const { grants, accept, now, charged } = await start(ROOM_A, ROOM_B, 1_000, 20_000);
  await accept(commitOf(1, [eventOf(padded(1, "a"), padded(1, "b"))]));
  const missed = grants.moveSince(ROOM_A, now, 0, true);
  if (missed === null) throw new Error("not too much has happened");
  const difference = await grants.read(missed, USER, always);
  expect(difference?.changes.map(({ type }) => type)).toEqual(["changed"]);
  expect(charged()).toBeGreaterThan(8_000);
  difference?.release();
  expect(charged()).toBe(0);
  await accept(commitOf(2, [eventOf(padded(2, "a", 10_000), padded(2, "b", 10_000))]));
  const more = grants.moveSince(ROOM_A, now, 0, true);
  if (more === null) throw new Error("not too much has happened");
  expect(await grants.read(more, USER, always)).toBeNull();
  expect(charged()).toBe(0);
});

test("the time of a comparison that somebody else may have caused ends nothing, and is shared by the users who wait for it", async () => {
  const { grants, accept, now, move, noted } = await start(ROOM_A, ROOM_B);
  const other = new Account(FeedLimits.parse({}), () => {});
  const given = move();
  await Promise.all([grants.read(given, USER, always), grants.read(given, other, always)]);
  expect(new Set(noted)).toEqual(new Set([USER, other]));
  noted.length = 0;
  // A resumption is the user's own work.
  await accept(commitOf(1, [insertOf({ _id: 1, room: "b" })]));
  const missed = grants.moveSince(ROOM_A, now, 0, true);
  if (missed === null) throw new Error("not too much has happened");
  await grants.read(missed, USER, always);
  expect(noted).toEqual([]);
});

test("[G6] a client that waits for its difference keeps no commits, and has the result read again once they are evicted", async () => {
  const { grants, accept, now, typesOf } = await start(ROOM_A, ROOM_B);
  await accept(commitOf(1, [insertOf({ _id: 1, room: "b" })]));
  const move = () => {
    const missed = grants.moveSince(ROOM_A, now, 0, true);
    if (missed === null) throw new Error("not too much has happened");
    return missed;
  };
  const [early, late] = [move(), move()];
  await accept(commitOf(2, [insertOf({ _id: 2, room: "b" })]));
  // The difference ends at the cursor that its client has received.
  expect(await typesOf(early)).toEqual(["added"]);
  await accept(commitOf(3, [], 2_000_000));
  expect(await typesOf(late)).toBeNull();
});

test("a window moves to another one by its present documents, and keeps them as its state", async () => {
  const sorted = { sort: [["n", 1]] as const, limit: 2 };
  const { reader, now, old, move, typesOf } = await start(
    specOf({ room: "a" }, sorted),
    specOf({ room: "b" }, sorted),
  );
  expect(canMove(old, now)).toBe(true);
  const held = old.state.visible ?? [];
  now.state.lose();
  reader.answer = () => [
    { _id: 1, n: 1 },
    { _id: 2, n: 2 },
    { _id: 3, n: 3 },
  ];
  expect(await typesOf(move(held))).toEqual(["added", "added"]);
  expect([now.state.isLoaded, now.state.trackedDocuments]).toEqual([true, 3]);
});

test("live queries of another shape are not moved between: the result is read again", async () => {
  const { old } = await start(ROOM_A, ROOM_B);
  for (const other of [specOf({}, { documents: "delta" }), specOf({}, { sort: [["n", 1]], limit: 2 })]) {
    const { now } = await start(ROOM_A, other);
    expect(canMove(old, now)).toBe(false);
  }
});
