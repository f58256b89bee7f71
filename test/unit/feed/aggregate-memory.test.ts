import { expect, test } from "vitest";
import { parseAggregate } from "../../../src/match/aggregate.ts";
import { follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

test("the memory of an aggregate is what it was, once the groups that came have gone", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const aggregate = parseAggregate({
    by: "s",
    values: { n: { count: true }, total: { sum: "x" }, most: { max: "x" } },
  });
  const { delivery } = await follow(feed, { ...specOf({}), key: "by s", aggregate }, new Recorder());
  await untilPasses(() => expect(delivery.isLive).toBe(true));
  const { state } = delivery.liveQuery;
  const before = state.heldBytes;
  const docs = Array.from({ length: 50 }, (_, n) => ({ _id: n, s: `group ${n}`, x: n }));
  await accept(
    commitOf(
      1,
      docs.map((doc) => eventOf(null, doc)),
    ),
  );
  expect(state.heldBytes).toBeGreaterThan(before + 50 * 100);
  await accept(
    commitOf(
      2,
      docs.map((doc) => eventOf(doc, null)),
    ),
  );
  expect(state.heldBytes).toBe(before);
});
