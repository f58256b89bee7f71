import fc from "fast-check";
import { expect, test } from "vitest";
import {
  AFTER,
  BEFORE,
  CursorCodec,
  coversForClients,
  isLaterForClients,
  isStep,
} from "../../../src/feed/cursor.ts";
import { ToldHead } from "../../../src/feed/told-head.ts";
import { clusterTimeOf, secondsOf } from "../../../src/source/cluster-time.ts";

const IDLE_AGE_MS = 2_000;
const LAG_MS = IDLE_AGE_MS + 200;
const NOW_MS = 1_700_000_000_000;
const FROM = clusterTimeOf(1_600_000_000, 1);

test("the told head follows the clock alone, as long as the stream is no older than an idle one gets", () => {
  const told = new ToldHead(1_000, IDLE_AGE_MS);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 100_000 }),
      fc.integer({ min: 0, max: IDLE_AGE_MS }),
      fc.integer({ min: 1, max: 1_000 }),
      (passedMs, ageMs, counter) => {
        const nowMs = NOW_MS + passedMs;
        const headTime = clusterTimeOf(Math.floor((nowMs - ageMs) / 1_000), counter);
        const position = told.at(nowMs, { headTime, from: FROM });
        expect(position).toEqual({
          clusterTime: clusterTimeOf(Math.floor((nowMs - LAG_MS) / 1_000), 0),
          within: BEFORE,
        });
      },
    ),
  );
});

test("the told head is never later than the head, nor earlier than where the node began to read", () => {
  for (const stepMs of [1_000, 5_000, 60_000]) {
    const told = new ToldHead(stepMs, IDLE_AGE_MS);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100_000 }),
        fc.integer({ min: 1, max: 9 }),
        (behindMs, counter) => {
          const headTime = clusterTimeOf(Math.floor((NOW_MS - behindMs) / 1_000), counter);
          const { clusterTime } = told.at(NOW_MS, { headTime, from: FROM });
          expect(clusterTime).toBeLessThanOrEqual(headTime);
          expect(secondsOf(clusterTime) % (stepMs / 1_000)).toBe(0);
          const late = clusterTimeOf(Math.floor(NOW_MS / 1_000), 5);
          expect(told.at(NOW_MS, { headTime: late, from: late }).clusterTime).toBe(late);
        },
      ),
    );
  }
});

test("the told head passes a cluster time when the clock says so, and not a millisecond before", () => {
  for (const stepMs of [1_000, 5_000]) {
    const told = new ToldHead(stepMs, IDLE_AGE_MS);
    for (const counter of [0, 1, 7, 4_000]) {
      const wanted = clusterTimeOf(1_700_000_003, counter);
      const passesAtMs = told.passesAtMs(wanted);
      const headTime = clusterTimeOf(1_700_000_100, 1);
      expect(told.at(passesAtMs - 1, { headTime, from: FROM }).clusterTime).toBeLessThanOrEqual(wanted);
      expect(told.at(passesAtMs, { headTime, from: FROM }).clusterTime).toBeGreaterThan(wanted);
    }
  }
});

test("a hidden position is compared with steps by the clock: it does not matter when in a step it was", () => {
  const told = new ToldHead(1_000, IDLE_AGE_MS);
  const seconds = NOW_MS / 1_000;
  const hiddenAt = (age: number, counter: number) => {
    const clusterTime = clusterTimeOf(seconds - age, counter);
    return { clusterTime, within: AFTER, step: told.stepAfter(clusterTime, NOW_MS + 300) };
  };
  for (const hidden of [hiddenAt(0, 900), hiddenAt(0, 1), hiddenAt(1, 5), hiddenAt(2, 1)]) {
    for (const ahead of [-2, -1, 0, 1, 2]) {
      const step = { clusterTime: clusterTimeOf(seconds + ahead, 0), within: BEFORE };
      expect(isStep(step)).toBe(true);
      expect(isLaterForClients(step, hidden)).toBe(ahead >= 1);
      expect(isLaterForClients(hidden, step)).toBe(ahead < 1);
    }
  }
  // Where the clock of the server is ahead, a step that is told as later really is.
  const early = { clusterTime: clusterTimeOf(seconds + 5, 3), within: AFTER };
  expect(told.stepAfter(early.clusterTime, NOW_MS)).toBe(clusterTimeOf(seconds + 6, 0));
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
  const position = { clusterTime: clusterTimeOf(100, 7), within: AFTER, step: clusterTimeOf(101, 0) };
  const cursor = codec.encodeHidden(position);
  expect(other.decode(cursor)).toEqual(position);
  expect(codec.encodeHidden(position)).not.toBe(cursor);
  const bytes = Buffer.from(cursor, "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const altered = Buffer.from(bytes);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(codec.decode(altered.toString("base64url"))).toBe(bit < 32 ? "other-epoch" : "invalid");
  }
});
