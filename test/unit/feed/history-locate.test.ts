/** Every position that a client may come back with, in every history that may have become of it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AFTER, BEFORE, CursorCodec, type Position } from "../../../src/feed/cursor.ts";
import { History } from "../../../src/feed/history.ts";
import { HistoryOptions } from "../../../src/feed/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { Commit } from "../../../src/source/change-event.ts";

const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
const FROM = 1_000n << 32n;
const OPTIONS = HistoryOptions.parse({ bytes: 1_048_576 });
/** Shared, because making all metrics takes longer than a test of one history. */
const METRICS = createMetrics();
/** So large that a history of the smallest size holds few of them. */
const BYTES = 200_000;

const commitAt = (offset: number, n: number, bytes = BYTES): Commit => ({
  events: [],
  clusterTime: FROM + BigInt(offset),
  identity: `commit-${n}`,
  bytes,
  wallTimeMs: null,
});

/** Offsets that grow, often not at all: several commits of one cluster time. */
const offsets = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 14 }).map((steps) => {
  let offset = 1;
  return steps.map((step) => {
    offset += step;
    return offset;
  });
});

function historyOf(commits: readonly Commit[], through: bigint): History {
  const history = new History(OPTIONS, METRICS, codec, FROM);
  for (const commit of commits) {
    history.append(commit);
    history.advance(commit.clusterTime);
  }
  history.advance(through);
  return history;
}

/** The naive implementation: the commits after a position, found in the whole list. */
function seqOf(commits: readonly Commit[], { clusterTime, within }: Position): number | undefined {
  if (within === BEFORE) return commits.filter((commit) => commit.clusterTime < clusterTime).length;
  if (within === AFTER) return commits.filter((commit) => commit.clusterTime <= clusterTime).length;
  const at = commits.findIndex(
    (commit) => commit.clusterTime === clusterTime && codec.tag(commit.identity) === within,
  );
  return at < 0 ? undefined : at + 1;
}

test("a position is located exactly where the whole list has it, or said to be too old or ahead, and rightly so", () => {
  fc.assert(
    fc.property(offsets, fc.nat(3), (list, idle) => {
      const commits = list.map((offset, n) => commitAt(offset, n));
      const head = FROM + BigInt((list.at(-1) ?? 0) + idle);
      const history = historyOf(commits, head);
      const evicted = history.evictedSeq;
      const positions = list.flatMap((offset, n): Position[] => {
        const clusterTime = FROM + BigInt(offset);
        return [BEFORE, AFTER, codec.tag(`commit-${n}`)].map((within) => ({ clusterTime, within }));
      });
      for (const position of [
        ...positions,
        { clusterTime: head, within: BEFORE },
        { clusterTime: head, within: AFTER },
      ]) {
        const expected = seqOf(commits, position) ?? -1;
        const located = history.locate(position);
        if (located === "too-old") expect(expected).toBeLessThan(evicted);
        else expect(located).toEqual({ seq: expected });
        if (expected >= evicted) expect(located).toEqual({ seq: expected });
      }
      expect(history.locate({ clusterTime: head + 1n, within: BEFORE })).toBe("ahead");
    }),
    { numRuns: 500 },
  );
});

test("the entries after a located position are those of the whole list after it", () => {
  fc.assert(
    fc.property(offsets, (list) => {
      const commits = list.map((offset, n) => commitAt(offset, n));
      const history = historyOf(commits, FROM + BigInt(list.at(-1) ?? 0));
      for (let n = 0; n < list.length; n++) {
        const commit = commits[n];
        if (commit === undefined) continue;
        const located = history.locate({
          clusterTime: commit.clusterTime,
          within: codec.tag(commit.identity),
        });
        if (located === "too-old" || located === "ahead") continue;
        const after = history.after(located.seq).map((entry) => entry.commit.identity);
        expect(after).toEqual(commits.slice(n + 1).map(({ identity }) => identity));
      }
    }),
  );
});

test("finds the last entry up to a time, or null where a later one has gone already", () => {
  fc.assert(
    fc.property(offsets, fc.nat(30), (list, offset) => {
      const commits = list.map((offset, n) => commitAt(offset, n));
      const head = FROM + BigInt(list.at(-1) ?? 0);
      const history = historyOf(commits, head);
      const time = FROM + BigInt(offset);
      const expected = commits.filter((commit) => commit.clusterTime <= time).length;
      const seq = history.seqAt(time);
      if (seq === null) expect(expected).toBeLessThan(history.evictedSeq);
      else expect(seq).toBe(expected);
    }),
  );
});

test("the cursor before a commit covers all before it and nothing of it, also where they share a time", () => {
  fc.assert(
    // The larger are dropped as soon as they have been accepted.
    fc.property(offsets, fc.constantFrom(BYTES, 10 * BYTES), (list, bytes) => {
      const commits = list.map((offset, n) => commitAt(offset, n, bytes));
      const history = new History(OPTIONS, METRICS, codec, FROM);
      for (const [n, commit] of commits.entries()) {
        const entry = history.append(commit);
        const position = codec.decode(entry.cursorBefore);
        expect(typeof position === "string" ? position : seqOf(commits, position)).toBe(n);
        history.advance(commit.clusterTime);
      }
    }),
  );
});

test("keeps no more than its bytes and its age, the newest last", () => {
  const history = new History(HistoryOptions.parse({ windowMs: 10_000 }), createMetrics(), codec, FROM);
  for (let second = 0; second < 30; second++) {
    history.append({ ...commitAt(0, second), clusterTime: FROM + (BigInt(second) << 32n) });
    history.advance(FROM + (BigInt(second) << 32n));
  }
  expect(history.after(history.evictedSeq).map((entry) => entry.commit.identity)).toEqual(
    Array.from({ length: 11 }, (_, n) => `commit-${19 + n}`),
  );
  // An idle stream grows old, too.
  history.advance(FROM + (60n << 32n));
  expect(history.after(history.evictedSeq)).toEqual([]);
  expect(history.evictedSeq).toBe(30);
  expect(history.locate(history.positionOf(history.headMark))).toEqual({ seq: 30 });
});
