import { expect, test } from "vitest";
import { ClientCursors } from "../../../src/feed/client-cursors.ts";
import { AFTER } from "../../../src/feed/cursor.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { PublishedHead } from "../../../src/feed/published-head.ts";
import { appendTo, commitOf, epochOf, FROM, newTimeline } from "./feed-parts.ts";

/** Cursors with a step of one second, at a clock that the test moves. */
function start(cursorStepMs = 1_000) {
  const timeline = newTimeline();
  const at = { ms: 1_010_000 };
  const cursors = new ClientCursors(timeline, new PublishedHead(cursorStepMs, 400), () => at.ms);
  /** A live query to which nothing happens. */
  const quiet = { after: () => [] } as unknown as LiveQuery;
  return { timeline, cursors, at, quiet };
}

test("clients receive one hidden cursor for the length of a step, whatever is written meanwhile", () => {
  const { timeline, cursors, at } = start();
  const first = cursors.published;
  appendTo(timeline, commitOf(1));
  at.ms += 999;
  expect(cursors.published).toBe(first);
  at.ms++;
  expect(cursors.published.cursor).not.toBe(first.cursor);
  expect(timeline.codec.decode(cursors.published.cursor)).toMatchObject({ clusterTime: FROM + 1n });
});

test("the age of the sent head grows with the clock, and shrinks when a step ends and the stream has moved", () => {
  const { timeline, cursors, at } = start();
  expect(cursors.publishedAgeSeconds).toBe(1_010 - 1_000);
  timeline.advance(1_009n << 32n);
  at.ms += 500;
  expect(cursors.publishedAgeSeconds, "within the step").toBe(10.5);
  at.ms += 500;
  expect(cursors.publishedAgeSeconds).toBe(2);
});

test("where history.cursorStep is 0s, clients receive the exact head", () => {
  const { timeline, cursors } = start(0);
  const entry = appendTo(timeline, commitOf(1));
  expect(cursors.published.cursor).toBe(entry.cursor);
  expect(cursors.ofReading(FROM)).toBe(timeline.codec.encode({ clusterTime: FROM, within: AFTER }));
});

test("clients that follow changes only share a start while the result does not change, and not beyond", () => {
  const { timeline, cursors, at, quiet } = start();
  const { cursor } = cursors.startOfChanges(quiet, 0n);
  appendTo(timeline, commitOf(1));
  expect(cursors.startOfChanges(quiet, 0n).cursor).toBe(cursor);
  const busy = { after: () => [{}] } as unknown as LiveQuery;
  expect(cursors.startOfChanges(busy, 0n).seq).toBe(1);
  expect(cursors.startOfChanges(quiet, FROM + 1n).position.clusterTime).toBe(FROM + 1n);
  at.ms += 1_000;
  expect(cursors.startOfChanges(quiet, 0n).cursor).not.toBe(cursor);
});

test("refuses every cursor of an earlier epoch", () => {
  const { timeline, cursors, quiet } = start();
  const before = { ...cursors.startOfChanges(quiet, FROM + 5n) };
  const { cursor: published } = cursors.published;
  const point = cursors.grantPoint(null);
  timeline.begin(epochOf("89abcdef"), FROM + 10n);
  for (const cursor of [before.cursor, published, point.published.after])
    expect(timeline.codec.decode(cursor)).toBe("other-epoch");
  const now = [cursors.startOfChanges(quiet, 0n), cursors.published].map(({ cursor }) => cursor);
  for (const cursor of [...now, cursors.grantPoint(null).published.after])
    expect(timeline.codec.decode(cursor)).toMatchObject({ clusterTime: expect.any(BigInt) });
});

test("clients whose rights change at one point of a step receive the same cursors", () => {
  const { timeline, cursors, at } = start();
  const point = cursors.grantPoint(null);
  expect(cursors.grantPoint(null)).toBe(point);
  at.ms += 1_000;
  expect(cursors.grantPoint(null)).not.toBe(point);
  const entry = appendTo(timeline, commitOf(1));
  expect(cursors.grantPoint(entry)).toMatchObject({ seq: 1, published: { after: entry.cursor } });
  expect(cursors.positionAfter(cursors.grantPoint(entry))).toEqual(entry.position);
});

test("the published head passes an operation time with the clock; a change that the client was sent passes it at once", async () => {
  const { timeline, cursors } = start();
  await cursors.publishedReached({ t: 1_010, i: 1 }, () => true, 1_000);
  await expect(cursors.publishedReached({ t: 1_010, i: 1 }, () => false, 5)).rejects.toMatchObject({
    code: "unavailable",
  });
  timeline.advance(1_010n << 32n);
  await cursors.publishedReached({ t: 1_008, i: 1 }, () => false, 1_000);
});
