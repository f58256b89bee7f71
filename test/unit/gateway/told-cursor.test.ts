import { expect, test } from "vitest";
import { AFTER, CursorCodec, type Position, type Told } from "../../../src/feed/cursor.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import { ToldCursor } from "../../../src/gateway/connection/told-cursor.ts";

const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
const hidden = (clusterTime: bigint, issuedMs: number): Told => {
  const position = { clusterTime, within: AFTER };
  return { position: { ...position, issuedMs }, cursor: codec.encodeHidden(position, issuedMs) };
};
const change = (clusterTime: bigint, within = 5): Told => {
  const position: Position = { clusterTime, within };
  return { position, cursor: codec.encode(position) };
};

/** A feed with the given head. */
function toldBy(told: Told, renewed = told) {
  const feed = { timeline: { codec }, cursors: { told, renewTold: () => renewed } };
  return new ToldCursor(feed as unknown as Feed); // what telling needs, and no more
}

const sent = (...known: Told[]) => known.map((told) => ({ sent: told }));

test("a client receives the cursor of the head, or of a later change that it received", () => {
  const head = hidden(10n, 1_000);
  expect(toldBy(head).next([])).toBe(head.cursor);
  expect(toldBy(head).next(sent(change(9n)))).toBe(head.cursor);
  const later = change(11n);
  expect(toldBy(head).next(sent(change(9n), later))).toBe(later.cursor);
});

test("of hidden cursors the newest is sent, whether or not anything was written in between", () => {
  const head = hidden(10n, 1_000);
  for (const clusterTime of [10n, 11n, 50n]) {
    const start = hidden(clusterTime, 1_001);
    expect(toldBy(head).next(sent(start))).toBe(start.cursor);
  }
});

test("the cursor of a client never goes back: not when a subscription ends, nor behind a snapshot", () => {
  const told = toldBy(hidden(10n, 1_000));
  const later = change(11n);
  expect(told.next(sent(later))).toBe(later.cursor);
  expect(told.next([])).toBe(later.cursor);
  const renewed = hidden(30n, 3_000);
  const snapshot = hidden(20n, 1_500);
  expect(toldBy(hidden(19n, 2_000), renewed).next(sent(snapshot))).toBe(renewed.cursor);
});

test("after two changes of one cluster time were sent, the cursor covers all of that time", () => {
  const told = toldBy(hidden(10n, 1_000)).next(sent(change(11n, 5), change(11n, 6)));
  expect(codec.decode(told)).toEqual({ clusterTime: 11n, within: AFTER });
});

test("cursors from before a break in the order of changes have no effect afterwards", () => {
  const other = new CursorCodec({ id: "89abcdef", cursorKey: new Uint8Array(16).fill(8) });
  const head = hidden(10n, 1_000);
  const feed = { timeline: { codec: codec as CursorCodec }, cursors: { told: change(99n) } };
  const told = new ToldCursor(feed as unknown as Feed); // what telling needs, and no more
  expect(told.next([])).toBe(change(99n).cursor);
  feed.timeline.codec = other;
  feed.cursors.told = head;
  expect(told.next([])).toBe(head.cursor);
});
