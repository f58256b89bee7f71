/** One large document: whatever is made of it pauses after each 1,000 values, and the outcome is the same. */
import { expect, test } from "vitest";
import { AFTER } from "../../../src/feed/cursor.ts";
import type { LiveQuerySpec } from "../../../src/feed/live-query-spec.ts";
import type { FeedLimits, HistoryOptions } from "../../../src/feed/options.ts";
import { excludeProjection, includeProjection } from "../../../src/match/projection.ts";
import type { Commit } from "../../../src/source/change-event.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const COUNT = 20_000;
const PAUSES = COUNT / 1_000 - 1;
const numbers = (from = 0) => Array.from({ length: COUNT }, (_, i) => from + i);
const SORTED = { sort: [["a", 1]], limit: 2, projection: includeProjection(["b"]) } as const;

/** A feed that pauses at each opportunity, and counts that. */
async function startCounting({
  limits = {},
  ...rest
}: {
  readonly limits?: Partial<FeedLimits>;
  readonly history?: Partial<HistoryOptions>;
  readonly oplog?: readonly Commit[];
} = {}) {
  const reader = new ScriptedReader();
  let pauses = 0;
  const sliceClock = {
    now: () => performance.now(),
    yield: async () => {
      pauses++;
      await settled();
    },
  };
  const started = await startFeed(reader, { limits: { commitSliceMs: 0, ...limits }, ...rest, sliceClock });
  /** How many pauses something makes. */
  const pausesIn = async (work: () => Promise<unknown>) => {
    const before = pauses;
    await work();
    return pauses - before;
  };
  return { ...started, reader, pausesIn };
}

test.each<[string, Partial<LiveQuerySpec>, object, object]>([
  ["its text is made", {}, { a: 0 }, { a: numbers() }],
  [
    "its delta is made",
    { documents: "delta" },
    { o: 0 },
    { o: { p: Object.fromEntries(numbers().entries()) } },
  ],
  [
    "the fields of both states are compared for a delta",
    { documents: "delta" },
    Object.fromEntries(numbers().map((i) => [`f${i}`, i])),
    { ...Object.fromEntries(numbers().map((i) => [`f${i}`, i])), f7: 0 },
  ],
  [
    "it is compared under a projection",
    { projection: excludeProjection(["a.x"]) },
    { a: numbers().map((i) => ({ i, x: 1 })) },
    { a: numbers().map((i) => ({ i, x: 2 })) },
  ],
  ["its sort key is found", SORTED, { a: numbers(), b: 1 }, { a: numbers(1), b: 2 }],
])("a commit pauses while %s", async (_name, spec, before, after) => {
  const { feed, accept, reader, pausesIn } = await startCounting();
  reader.answer = () => [{ _id: 1, ...before }];
  const { sink } = await follow(feed, specOf({}, spec));
  await untilPasses(() => expect(sink.live).toBe(1));
  const pauses = await pausesIn(() =>
    accept(commitOf(1, [eventOf({ _id: 1, ...before }, { _id: 1, ...after })])),
  );
  expect(pauses).toBeGreaterThanOrEqual(PAUSES);
  if (spec.projection === undefined) expect([...sink.state.values()]).toEqual([{ _id: 1, ...after }]);
  if (spec === SORTED) expect([...sink.state.values()]).toEqual([{ _id: 1, b: 2 }]);
});

test("documents of one commit are compared with pauses across its events", async () => {
  const { feed, accept, reader, pausesIn } = await startCounting();
  const states = [1, 2, 3].map((x) => ({ _id: 1, a: numbers().map((i) => ({ i, x })), b: 1 }));
  const [first, second, third] = states;
  if (first === undefined || second === undefined || third === undefined) throw new Error("three states");
  reader.answer = () => [first];
  const sort = { sort: [["b", 1]], limit: 2, projection: excludeProjection(["a.x"]) } as const;
  const { sink } = await follow(feed, specOf({}, sort));
  await untilPasses(() => expect(sink.live).toBe(1));
  // For each event the state before the commit is compared with the one after the event: twice 20 steps for each.
  const commit = commitOf(1, [eventOf(first, second), eventOf(second, third)]);
  expect(await pausesIn(() => accept(commit))).toBeGreaterThanOrEqual(4 * PAUSES);
  expect(sink.messages).toHaveLength(1);
});

const resumed = { ...FRESH, resumeFrom: { clusterTime: FROM + 1n, within: AFTER } };
const large = (_id: number) => ({ _id, a: numbers() });

test("a resumption pauses while a large document is encoded, and sends what comes before it and after it", async () => {
  const { feed, accept, pausesIn } = await startCounting();
  for (const [at, document] of [{ _id: 1 }, { _id: 2 }, large(3), { _id: 4 }, large(5)].entries())
    await accept(commitOf(at + 1, [insertOf(document)]));
  const sinks = [new Recorder(), new Recorder()];
  const pauses = await pausesIn(async () => {
    for (const sink of sinks) await follow(feed, specOf(), sink, resumed);
    await untilPasses(() => expect(sinks.map(({ live }) => live)).toEqual([1, 1]));
  });
  expect(pauses).toBeGreaterThanOrEqual(2 * PAUSES);
  for (const { state } of sinks)
    expect([...state.values()]).toEqual([{ _id: 2 }, large(3), { _id: 4 }, large(5)]);
});

test("a large document that is not kept for the next resumption is sent all the same, also to a slow consumer", async () => {
  const { feed, accept } = await startCounting({ history: { bytes: 1_048_576 } });
  const documents = [2, 3, 4, 5, 6, 7, 8, 9].map((_id) => ({ _id, a: "x".repeat(300_000) }));
  await accept(commitOf(1, []));
  for (const document of documents) await accept(commitOf(document._id, [insertOf(document)]));
  const sink = new Recorder();
  sink.hasRoom = false;
  await follow(feed, specOf(), sink, resumed);
  await settled();
  sink.drain();
  await untilPasses(() => expect(sink.live).toBe(1));
  expect([...sink.state.values()]).toEqual(documents);
});

test("a resumption from the oplog pauses while a large document is encoded", async () => {
  const commits = [1, 2, 3, 4, 5, 6, 7, 8].map((at) =>
    commitOf(at, [insertOf(at === 2 ? large(2) : { _id: at })]),
  );
  const { feed, accept, pausesIn } = await startCounting({ history: { bytes: 1_500 }, oplog: commits });
  for (const commit of commits) await accept(commit);
  const sink = new Recorder();
  const pauses = await pausesIn(async () => {
    const { started } = await follow(feed, specOf(), sink, resumed);
    expect(started.start).toBe("resumed");
    await untilPasses(() => expect(sink.live).toBe(1));
  });
  expect(pauses).toBeGreaterThanOrEqual(PAUSES);
  expect(sink.state.get("2")).toEqual(large(2));
  expect(sink.state.size).toBe(7);
});

test("a snapshot pauses while a large document is encoded", async () => {
  const { feed, reader, pausesIn } = await startCounting();
  reader.answer = () => [{ _id: 0 }, large(1), { _id: 2 }];
  const sink = new Recorder();
  const pauses = await pausesIn(async () => {
    await follow(feed, specOf(), sink);
    await untilPasses(() => expect(sink.live).toBe(1));
  });
  expect(pauses).toBeGreaterThanOrEqual(PAUSES);
  expect([...sink.state.values()]).toEqual([{ _id: 0 }, large(1), { _id: 2 }]);
});

test("a window that waited for the database pauses for the large documents of later commits", async () => {
  const { feed, accept, reader, pausesIn } = await startCounting();
  const before = Array.from({ length: 50 }, (_, n) => ({ _id: n, a: n, b: n }));
  reader.answer = () => before;
  const { sink, delivery } = await follow(
    feed,
    specOf({}, { ...SORTED, projection: includeProjection(["a"]) }),
  );
  await untilPasses(() => expect(sink.live).toBe(1));
  let answer = (_documents: readonly object[]) => {};
  reader.answer = () => new Promise((resolve) => (answer = resolve));
  await accept(
    commitOf(
      1,
      before.map((document) => eventOf(document, null)),
    ),
  );
  await accept(commitOf(2, [insertOf({ _id: 60, a: numbers() })]));
  const pauses = await pausesIn(async () => {
    answer([70, 71, 72].map((n) => ({ _id: n, a: n, b: n })));
    await delivery.liveQuery.state.becomesCurrent();
  });
  // For its sort key, and for its text.
  expect(pauses).toBeGreaterThanOrEqual(2 * PAUSES);
  expect(sink.order).toEqual(["60", "70"]);
});
