import { expect, test } from "vitest";
import { BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import { Limiter } from "../../../src/feed/limiter.ts";
import { OplogReads } from "../../../src/feed/oplog-read.ts";

const codec = new CursorCodec({ id: "00000000", cursorKey: Buffer.alloc(16, 1) });

test("limits.catchUpStreams: so many streams are open at a time; who comes meanwhile shares the next one", async () => {
  const opened: bigint[] = [];
  const held: number[] = [];
  async function* open(from: bigint, signal: AbortSignal) {
    opened.push(from);
    while (!signal.aborted) {
      yield { commits: [], through: from, resumeToken: undefined, invalidated: undefined };
    }
  }
  const reads = new OplogReads(open, new Limiter(2), (count) => held.push(count));
  const ask = (clusterTime: bigint) => reads.request({ clusterTime, within: BEFORE }, codec);
  const first = await ask(10n);
  const second = await ask(20n);
  const waiting = [ask(40n), ask(30n)];
  expect(opened).toEqual([10n, 20n]);
  first?.end();
  const [fourth, third] = await Promise.all(waiting);
  // One stream for both, from the older position on.
  expect(opened).toEqual([10n, 20n, 30n]);
  expect(Math.max(...held)).toBe(2);
  for (const read of [second, third, fourth]) read?.end();
  expect(held.at(-1)).toBe(0);
});
