import { expect, test } from "vitest";
import { AFTER, CursorCodec, type Position, type PublishedPosition } from "../../../src/feed/cursor.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import { ClientPosition } from "../../../src/gateway/connection/client-position.ts";

const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
const hidden = (clusterTime: bigint, issuedMs: number): PublishedPosition => {
  const position = { clusterTime, within: AFTER };
  return { position: { ...position, issuedMs }, cursor: codec.encodeHidden(position, issuedMs) };
};
const change = (clusterTime: bigint, within = 5): PublishedPosition => {
  const position: Position = { clusterTime, within };
  return { position, cursor: codec.encode(position) };
};

/** A feed with the given head. */
function positionAfter(published: PublishedPosition, renewed = published) {
  const feed = { timeline: { codec }, cursors: { published, renewPublished: () => renewed } };
  return new ClientPosition(feed as unknown as Feed); // the part that it reads
}

const sent = (...known: PublishedPosition[]) => known.map((published) => ({ sent: published }));

test("a client receives the cursor of the head, or of a later change that it received", () => {
  const head = hidden(10n, 1_000);
  expect(positionAfter(head).next([])).toBe(head.cursor);
  expect(positionAfter(head).next(sent(change(9n)))).toBe(head.cursor);
  const later = change(11n);
  expect(positionAfter(head).next(sent(change(9n), later))).toBe(later.cursor);
});

test("of hidden cursors the newest is sent, whether or not anything was written in between", () => {
  const head = hidden(10n, 1_000);
  for (const clusterTime of [10n, 11n, 50n]) {
    const start = hidden(clusterTime, 1_001);
    expect(positionAfter(head).next(sent(start))).toBe(start.cursor);
  }
});

test("the cursor of a client never goes back: not when a subscription ends, nor behind a snapshot", () => {
  const published = positionAfter(hidden(10n, 1_000));
  const later = change(11n);
  expect(published.next(sent(later))).toBe(later.cursor);
  expect(published.next([])).toBe(later.cursor);
  const renewed = hidden(30n, 3_000);
  const snapshot = hidden(20n, 1_500);
  expect(positionAfter(hidden(19n, 2_000), renewed).next(sent(snapshot))).toBe(renewed.cursor);
});

test("after two changes of one cluster time were sent, the cursor covers all of that time", () => {
  const published = positionAfter(hidden(10n, 1_000)).next(sent(change(11n, 5), change(11n, 6)));
  expect(codec.decode(published)).toEqual({ clusterTime: 11n, within: AFTER });
});

test("cursors from before a break in the order of changes have no effect afterwards", () => {
  const other = new CursorCodec({ id: "89abcdef", cursorKey: new Uint8Array(16).fill(8) });
  const head = hidden(10n, 1_000);
  const feed = { timeline: { codec: codec as CursorCodec }, cursors: { published: change(99n) } };
  const published = new ClientPosition(feed as unknown as Feed); // the part that it reads
  expect(published.next([])).toBe(change(99n).cursor);
  feed.timeline.codec = other;
  feed.cursors.published = head;
  expect(published.next([])).toBe(head.cursor);
});
