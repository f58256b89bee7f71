/** The time that a window spends waiting for others is not its work. */
import { expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { WorkMeter } from "../../../src/feed/work-meter.ts";
import { follow } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const docs = (...list: number[]) => list.map((n) => ({ _id: n, n }));

test("a window that catches up is not charged for the batch that it waits for", async () => {
  const charged: number[] = [];
  const spy = vi
    .spyOn(WorkMeter.prototype, "noteCatchUp")
    .mockImplementation((_query, ms) => void charged.push(ms));
  onTestFinished(() => spy.mockRestore());
  const at = { ms: 0 };
  // A slice of no time is over after each step, and each pause lets the event loop go on.
  const sliceClock = { now: () => at.ms, yield: () => settled() };
  const reader = new ScriptedReader();
  reader.answer = () => docs(...Array(50).keys());
  const { feed, accept } = await startFeed(reader, { sliceClock, limits: { commitSliceMs: 0 } });
  const { delivery } = await follow(feed, specOf({}, { sort: [["n", 1]], limit: 2 }));
  await untilPasses(() => expect(delivery.isLive).toBe(true));
  charged.length = 0;
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return docs(100, 101, 102);
  };
  await accept(
    commitOf(
      1,
      [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null)),
    ),
  );
  await accept(commitOf(2, [insertOf({ _id: 99, n: 99 })]));
  await accept(commitOf(3, [insertOf({ _id: 98, n: 98 })]));
  // A batch of others begins in the first pause of the window, and takes half a second.
  const ended = deferred();
  let batch: Promise<void> | undefined;
  sliceClock.yield = async () => {
    batch ??= feed.timeline.handOut(async () => {
      await ended.promise;
      at.ms += 500;
    });
    await settled();
  };
  answered.resolve();
  for (let turn = 0; turn < 20; turn++) await settled();
  ended.resolve();
  await delivery.liveQuery.state.becomesCurrent();
  expect(batch).toBeDefined();
  expect(Math.max(...charged)).toBeLessThan(100);
});
