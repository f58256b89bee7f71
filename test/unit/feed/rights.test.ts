import { expect, test } from "vitest";
import { AFTER } from "../../../src/feed/cursor.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { Rights } from "../../../src/feed/rights.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { appendTo, commitOf, eventOf, FROM, insertOf, newTimeline } from "./feed-parts.ts";

/** Rights that follow from ada's memberships, which were read after `commits` commits. */
function rightsOfAda(loadedAt: bigint): Rights {
  const filter = parseFilter({ user: "ada" }, { regex: "prefix" });
  const set = new LookupSet({ key: "k", database: "db", collectionName: "members", filter, value: "room" });
  runThrough(set.loadInSteps([], loadedAt));
  return new Rights(0n, [set]);
}

const at = (offset: number) => ({ clusterTime: FROM + BigInt(offset), within: AFTER });
const membership = { _id: 1, user: "ada", room: "a" };

test("rights that a write in between took away and gave back have not been the same since the cursor", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  appendTo(timeline, commitOf(2, [eventOf(membership, null, "members")]));
  appendTo(timeline, commitOf(3, [insertOf(membership, "members")]));
  appendTo(timeline, commitOf(4));
  const { history } = timeline;
  expect(rightsOfAda(FROM + 4n).traceBack(at(1), 1, history)).toBe(false);
  expect(rightsOfAda(FROM + 4n).traceBack(at(2), 2, history)).toBe(false);
  expect(rightsOfAda(FROM + 4n).traceBack(at(3), 3, history)).toBe(true);
});

test("writes that the rights do not depend on leave them the same", () => {
  const timeline = newTimeline();
  const renamed = { ...membership, name: "new" };
  appendTo(timeline, commitOf(1, [eventOf(membership, renamed, "members"), insertOf(membership)]));
  expect(rightsOfAda(FROM + 1n).traceBack(at(0), 0, timeline.history)).toBe(true);
});

test("rights count as changed if the history no longer holds the commits since the cursor", () => {
  const timeline = newTimeline({ bytes: 1_000 });
  for (let offset = 1; offset < 5; offset++) appendTo(timeline, commitOf(offset));
  const { history } = timeline;
  expect(history.evictedSeq).toBeGreaterThan(0);
  expect(rightsOfAda(FROM + 4n).traceBack(at(0), 0, history)).toBe(false);
  expect(rightsOfAda(FROM + 4n).traceBack(at(3), history.evictedSeq, history)).toBe(true);
});

test("the past of a collection that is followed only since later is not known", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  timeline.history.follow(["db.members"]);
  expect(rightsOfAda(FROM + 1n).traceBack(at(0), 0, timeline.history)).toBe(false);
});

test("one read serves all resumptions, because the set remembers how far back it is known", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const rights = rightsOfAda(FROM + 1n);
  expect(rights.traceBack(at(0), 0, timeline.history)).toBe(true);
  expect(rights.since).toBe(FROM);
  expect(rights.sets[0]?.traceBack(FROM + 1n, () => expect.unreachable())).toBe(true);
});
