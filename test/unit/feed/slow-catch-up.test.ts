/** Clients that catch up from the oplog, and take nothing. */
import { expect, test } from "vitest";
import { AFTER } from "../../../src/feed/cursor.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { usedBytes } from "../../support/used-bytes.ts";
import { commitOf, FROM, insertOf, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

/** Size of one answer of MongoDB. */
const BATCH_BYTES = 1_048_576;
const COMMITS_PER_BATCH = 16;
const COMMITS = 32;
const CLIENTS = 12;

const padded = (offset: number) => {
  const pad = "x".repeat(BATCH_BYTES / COMMITS_PER_BATCH);
  return commitOf(offset, [insertOf({ _id: offset, pad })], BATCH_BYTES / COMMITS_PER_BATCH);
};

/** Each read makes the events again, as a server sends them again. */
async function* readOplog(from: bigint, signal: AbortSignal) {
  for (let offset = Math.max(1, Number(from - FROM)); offset <= COMMITS && !signal.aborted; ) {
    const count = Math.min(COMMITS_PER_BATCH, COMMITS - offset + 1);
    const commits = Array.from({ length: count }, (_, at) => padded(offset + at));
    offset += count;
    const through = FROM + BigInt(offset - 1);
    yield { commits, through, resumeToken: undefined, invalidated: undefined };
  }
}

test("[G6] clients that read nothing while they catch up keep no batches of the oplog in memory, and miss nothing in the end", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader(), {
    history: { bytes: 1_500 },
    limits: { catchUpStreams: 1, catchUpTurnMs: 100, encodeCacheBytes: 65_536 },
    readOplog,
  });
  for (let offset = 1; offset <= COMMITS; offset++) await accept(padded(offset));
  const before = usedBytes();
  const sinks: Recorder[] = [];
  for (let n = 0; n < CLIENTS; n++) {
    const sink = new Recorder();
    sink.hasRoom = false;
    sinks.push(sink);
    // Of other live queries, and from other positions, so that nothing is shared.
    const resumeFrom = { clusterTime: FROM + BigInt(n), within: AFTER };
    const spec = specOf({ _id: { $gt: n - CLIENTS } });
    const { started } = await follow(feed, spec, sink, { ...FRESH, resumeFrom });
    expect(started.start).toBe("resumed");
  }
  // Each of them would keep the events and the text.
  const isLittle = () => expect(usedBytes() - before).toBeLessThan(CLIENTS * BATCH_BYTES);
  await untilPasses(isLittle);
  for (const sink of sinks) sink.drain();
  for (const [n, sink] of sinks.entries()) {
    await untilPasses(() => expect(sink.live).toBe(1));
    const added = sink.messages.map(({ type, doc }) => [type, (doc as { _id: number } | undefined)?._id]);
    expect(added).toEqual(Array.from({ length: COMMITS - n }, (_, at) => ["added", n + at + 1]));
  }
});
