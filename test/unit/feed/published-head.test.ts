import fc from "fast-check";
import { expect, test } from "vitest";
import { AFTER, BEFORE, CursorCodec, coversForClients } from "../../../src/feed/cursor.ts";
import { PublishedHead } from "../../../src/feed/published-head.ts";
import { clusterTimeOf, secondsOf } from "../../../src/source/cluster-time.ts";

const IDLE_AGE_MS = 2_000;
const LAG_MS = IDLE_AGE_MS + 200;
const NOW_MS = 1_700_000_000_000;
const FROM = clusterTimeOf(1_600_000_000, 1);

test("the published head follows the clock alone, as long as the stream is no older than an idle one gets", () => {
  const published = new PublishedHead(1_000, IDLE_AGE_MS);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 100_000 }),
      fc.integer({ min: 0, max: IDLE_AGE_MS }),
      fc.integer({ min: 1, max: 1_000 }),
      (passedMs, ageMs, counter) => {
        const nowMs = NOW_MS + passedMs;
        const headTime = clusterTimeOf(Math.floor((nowMs - ageMs) / 1_000), counter);
        const passed = published.at(nowMs, { headTime, from: FROM });
        expect(passed).toBe(clusterTimeOf(Math.floor((nowMs - LAG_MS) / 1_000), 0));
      },
    ),
  );
});

test("the published head is never later than the head, nor earlier than where the node began to read", () => {
  for (const stepMs of [1_000, 5_000, 60_000]) {
    const published = new PublishedHead(stepMs, IDLE_AGE_MS);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100_000 }),
        fc.integer({ min: 1, max: 9 }),
        (behindMs, counter) => {
          const headTime = clusterTimeOf(Math.floor((NOW_MS - behindMs) / 1_000), counter);
          const clusterTime = published.at(NOW_MS, { headTime, from: FROM });
          expect(clusterTime).toBeLessThanOrEqual(headTime);
          expect(secondsOf(clusterTime) % (stepMs / 1_000)).toBe(0);
          const late = clusterTimeOf(Math.floor(NOW_MS / 1_000), 5);
          expect(published.at(NOW_MS, { headTime: late, from: late })).toBe(late);
        },
      ),
    );
  }
});

test("the published head passes a cluster time when the clock says so, and not a millisecond before", () => {
  for (const stepMs of [1_000, 5_000]) {
    const published = new PublishedHead(stepMs, IDLE_AGE_MS);
    for (const counter of [0, 1, 7, 4_000]) {
      const wanted = clusterTimeOf(1_700_000_003, counter);
      const passesAtMs = published.passesAtMs(wanted);
      const headTime = clusterTimeOf(1_700_000_100, 1);
      expect(published.at(passesAtMs - 1, { headTime, from: FROM })).toBeLessThanOrEqual(wanted);
      expect(published.at(passesAtMs, { headTime, from: FROM })).toBeGreaterThan(wanted);
    }
  }
});

test("a change covers its own cluster time and all earlier seconds, and says nothing of others in its second", () => {
  const change = { clusterTime: clusterTimeOf(100, 7), within: 1_234 };
  for (const [t, i, covered] of [
    [100, 7, true],
    [100, 6, false],
    [100, 8, false],
    [99, 4_000, true],
    [101, 1, false],
  ] as const) {
    expect(coversForClients(change, clusterTimeOf(t, i)), `${t}.${i}`).toBe(covered);
    expect(coversForClients({ ...change, within: AFTER }, clusterTimeOf(t, i))).toBe(false);
    expect(coversForClients({ ...change, within: BEFORE }, clusterTimeOf(t, i))).toBe(false);
  }
});

test("a hidden cursor is read as its position, is never the same twice, and cannot be altered", () => {
  const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
  const other = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
  const position = { clusterTime: clusterTimeOf(100, 7), within: AFTER };
  const cursor = codec.encodeHidden(position, NOW_MS);
  expect(other.decode(cursor)).toEqual({ ...position, issuedMs: NOW_MS });
  expect(codec.encodeHidden(position, NOW_MS)).not.toBe(cursor);
  const bytes = Buffer.from(cursor, "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const altered = Buffer.from(bytes);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(codec.decode(altered.toString("base64url"))).toBe(bit < 32 ? "other-epoch" : "invalid");
  }
});
