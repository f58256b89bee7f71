import { expect, test } from "vitest";
import { AFTER, BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import { History } from "../../../src/feed/history.ts";
import { HistoryOptions } from "../../../src/feed/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { Commit } from "../../../src/source/change-event.ts";

const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
const FROM = 1_000n << 32n;

const historyFrom = (from: bigint) => new History(HistoryOptions.parse({}), createMetrics(), codec, from);

const headOf = (history: History) => history.positionOf(history.headMark);

const commitAt = (clusterTime: bigint, identity = `token-${clusterTime}`): Commit => ({
  events: [],
  clusterTime,
  identity,
  bytes: 100,
  wallTimeMs: null,
});

const just = (clusterTime: bigint, identity = `token-${clusterTime}`) => ({
  clusterTime,
  within: codec.tag(identity),
});

test("does not know the time at which it begins before the stream has come past it", () => {
  const history = historyFrom(FROM);
  // Otherwise a client with a cursor of the commit at that very time would receive it again.
  expect(history.locate(just(FROM))).toBe("ahead");
  expect(history.locate({ clusterTime: FROM, within: AFTER })).toBe("ahead");
  history.append(commitAt(FROM));
  history.advance(FROM);
  expect(history.locate(just(FROM))).toEqual({ seq: 1 });
  expect(history.locate({ clusterTime: FROM, within: AFTER })).toEqual({ seq: 1 });
});

test("begins with a cursor before all future commits", () => {
  const history = historyFrom(FROM);
  const head = headOf(history);
  expect(head).toEqual({ clusterTime: FROM, within: BEFORE });
  history.append(commitAt(FROM));
  history.append(commitAt(FROM + 1n));
  history.advance(FROM + 1n);
  expect(history.locate(head)).toEqual({ seq: 0 });
  expect(headOf(history)).toEqual(just(FROM + 1n));
});

test("begins a new epoch in the same way: positions of the old epoch are not in it", () => {
  const history = historyFrom(FROM);
  history.append(commitAt(FROM + 1n));
  history.advance(FROM + 1n);
  history.begin(codec, FROM + 5n);
  expect(headOf(history)).toEqual({ clusterTime: FROM + 5n, within: BEFORE });
  expect(history.locate(just(FROM + 1n))).toBe("too-old");
  expect(history.locate(just(FROM + 5n))).toBe("ahead");
});

test("a hold keeps the commits from its beginning on, whatever their age, up to the limit of bytes", () => {
  const second = (n: number) => FROM + (BigInt(n) << 32n);
  const options = HistoryOptions.parse({ windowMs: 0, bytes: 1_048_576 });
  const history = new History(options, createMetrics(), codec, FROM);
  const accept = (time: bigint, bytes = 100) => {
    history.append({ ...commitAt(time), bytes });
    history.advance(time);
  };
  accept(second(1));
  accept(second(2));
  expect(history.evictedSeq).toBe(1);
  const release = history.hold();
  const releaseLater = history.hold();
  accept(second(3));
  accept(second(4));
  expect(history.evictedSeq).toBe(1);
  release();
  history.advance(second(5));
  expect(history.evictedSeq).toBe(1);
  accept(second(6), 1_048_000);
  expect(history.evictedSeq).toBe(4);
  releaseLater();
  history.advance(second(7));
  expect(history.evictedSeq).toBe(5);
});

test("takes a commit that it has not for one of another pipeline only where it has no company", () => {
  const history = historyFrom(FROM);
  history.append(commitAt(FROM + 1n));
  history.append(commitAt(FROM + 3n));
  history.advance(FROM + 4n);
  expect(history.locate(just(FROM + 2n, "left out"))).toEqual({ seq: 1 });
  expect(history.locate(just(FROM + 3n, "left out"))).toBe("too-old");
});

test("gives the entry after any number, also once the first ones are gone", () => {
  const history = new History(HistoryOptions.parse({ windowMs: 1_000 }), createMetrics(), codec, FROM);
  for (let second = 0n; second < 10n; second++) history.append(commitAt(FROM + (second << 32n)));
  history.advance(FROM + (9n << 32n));
  expect(history.evictedSeq).toBe(8);
  expect(history.next(8)?.seq).toBe(9);
  expect(history.next(9)?.seq).toBe(10);
  expect(history.next(10)).toBeUndefined();
});
