/** A result that was read at a time which the stream has not reached yet. */
import { expect, test } from "vitest";
import type { OpenSnapshot } from "../../../src/feed/snapshot-reader.ts";
import type { SnapshotQuery } from "../../../src/source/snapshot-cursor.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { commitOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

/** Opens its reads two commits ahead of the stream. */
class ReaderAhead extends ScriptedReader {
  override async open(query: SnapshotQuery, after: bigint): Promise<OpenSnapshot> {
    return Object.assign(await super.open(query, after), { clusterTime: FROM + 2n });
  }
}

test("[G1] a client that joins a result which was read ahead of the stream receives the commits in between", async () => {
  const reader = new ReaderAhead();
  const { feed, accept } = await startFeed(reader);
  const sorted = specOf({}, { sort: [["_id", 1]] });
  const { head } = feed.timeline;
  // The history reaches back to the head, at which nothing was stored.
  reader.answer = ({ how }) => (how === "open" ? [{ _id: 1 }, { _id: 2 }] : []);
  const first = new Recorder();
  await follow(feed, sorted, first);
  const second = new Recorder();
  await follow(feed, sorted, second, { ...FRESH, resumeFrom: head });
  await settled();

  for (const number of [1, 2, 3]) {
    await accept(commitOf(number, [insertOf({ _id: number })]));
    await settled();
  }
  expect(first.order).toHaveLength(3);
  expect(second.order).toEqual(first.order);
});
