/** The limits of traces, and the effect of an error in one of them. */
import { expect, onTestFinished, test, vi } from "vitest";
import { judgeEvent } from "../../../src/admin/trace/judge-event.ts";
import { TraceLog } from "../../../src/admin/trace/trace-log.ts";
import { Traces, type TracesParts } from "../../../src/admin/trace/traces.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { deciding, redactedText } from "../../../src/rules/deciding-predicate.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { commitOf, docOf, insertOf, newTimeline } from "../feed/feed-parts.ts";

const RULES = compileRules({
  mongodb: { database: "db" },
  collections: {},
  limits: {} as never,
  rules: { nowStepMs: 1_000 } as never,
});

function traces(liveQueriesOf: (namespace: string) => Iterable<LiveQuery> = () => []) {
  const guard = guardParts();
  const feed = { trace: { observer: null }, liveQueriesOf } as TracesParts["feed"];
  const context: TracesParts["context"] = { rules: RULES, trace: null };
  const hub = new Traces(
    { traces: 2, traceEvents: 10 },
    {
      names: { node: "n", id: "0123456789ab" },
      feed,
      gateway: { each: () => [].values() },
      context,
      serverNowMs: () => Date.now(),
      ...guard,
    },
  );
  const begin = (id: string, namespace: string) =>
    hub.start(
      {
        id,
        subject: { kind: "sub", sub: "" },
        endsAtMs: Date.now() + 60_000,
        keepsDocuments: false,
        isTakenUp: false,
      },
      { kind: "document", namespace, idKey: KEY },
    );
  const read = (id: string) => hub.read({ id, after: null, mayReadDocuments: false }, 0);
  const timeline = newTimeline();
  let at = 0;
  const commit = (collection: string) =>
    hub.arrived(timeline.append(commitOf(++at, [insertOf({ _id: 1 }, collection)])));
  const outcome = async (name: string) => {
    const { values } = await guard.metrics.traceEvents.get();
    return values.find(({ labels }) => labels["outcome"] === name)?.value ?? 0;
  };
  return { hub, feed, context, begin, read, commit, outcome, ...guard };
}

/** The key of the `_id` 1, as `valueKey` writes it. */
const KEY = "10:1";

test("an error ends its own trace, is counted, and leaves the others and the loop alone", async () => {
  const { hub, feed, context, begin, read, commit, metrics } = traces((namespace) => {
    if (namespace === "db.broken") throw new Error("a bug");
    return [];
  });
  expect([await begin("a", "db.broken"), await begin("b", "db.things")]).toEqual(["started", "started"]);
  commit("broken");
  commit("things");
  expect([read("a")?.ended, read("b")?.ended]).toEqual(["fault", null]);
  expect(read("b")?.entries).toHaveLength(1);
  expect((await metrics.unexpectedErrors.get()).values).toMatchObject([
    { labels: { where: "admin.trace" }, value: 1 },
  ]);
  expect(feed.trace.observer).toBe(hub);
  hub.end("b");
  expect([feed.trace.observer, context.trace]).toEqual([null, null]);
});

test("events that would take more than a tenth of a second are skipped and counted until the next one", async () => {
  const { begin, read, commit, outcome, hub } = traces(() => {
    const untilMs = performance.now() + 110;
    while (performance.now() < untilMs);
    return [];
  });
  await begin("a", "db.things");
  commit("things");
  commit("things");
  expect(read("a")).toMatchObject({ entries: [{}], skipped: 1 });
  expect([await outcome("recorded"), await outcome("skipped")]).toEqual([1, 1]);
  hub.stop();
});

test("a log keeps its newest entries, and gives each again only after it has changed", () => {
  const dropped: object[] = [];
  const log = new TraceLog<{ readonly n: number }>(3, (entry) => dropped.push(entry));
  const entries = [1, 2, 3, 4].map((n) => ({ n }));
  for (const entry of entries.slice(0, 3)) log.add(entry);
  expect([dropped, log.dropped]).toEqual([[], 0]);
  expect(log.since(0, 2)).toEqual({ entries: [{ n: 1 }, { n: 2 }], version: 2, hasMore: true });
  expect(log.since(2, 2)).toEqual({ entries: [{ n: 3 }], version: 3, hasMore: false });
  log.add(entries[3] ?? { n: 0 });
  expect([dropped, log.dropped]).toEqual([[{ n: 1 }], 1]);
  for (const entry of entries.slice(0, 2)) log.touch(entry);
  expect(log.since(4, 10)).toEqual({ entries: [{ n: 2 }], version: 5, hasMore: false });
});

test.each([
  [{ a: 1 }, '{"a":"…"}'],
  [{ a: { $gt: 5, $lt: 9 } }, '{"$and":[{"a":{"$gt":"…"}},{"a":{"$lt":"…"}}]}'],
  [{ $or: [{ a: "x" }, { b: { $in: ["x"] } }] }, '{"$or":[{"a":"…"},{"b":{"$in":"…"}}]}'],
  [{ a: { $not: { $eq: "x" } } }, '{"a":{"$not":"…"}}'],
  [{ a: { $elemMatch: { b: "x" } } }, '{"a":{"$elemMatch":"…"}}'],
  [{ a: { $elemMatch: { $gt: 3 } }, b: { $type: "string" } }, '{"a":{"$elemMatch":"…"},"b":{"$type":"…"}}'],
  [{}, "{}"],
])("the redacted text of %j has no value", (filter, text) => {
  const limits = { regex: "any", maxDepth: 10, maxPredicates: 10, maxValues: 10 } as const;
  const parsed = parseFilter(filter, limits as never);
  expect(redactedText(parsed)).toBe(text);
  expect(deciding(parsed, docOf({ a: "secret" }), redactedText).because).not.toMatch(/secret|x"|[0-9]/);
});

test.each([
  [500, "added"],
  [501, "unknown"],
])(
  "a filter with %i values, as of a lookup, has the effect %s, because more of them take too long",
  (values, effect) => {
    const limits = { regex: "any", maxDepth: 10, maxPredicates: 10, maxValues: 1_000 } as const;
    const filter = parseFilter({ a: { $in: Array.from({ length: values }, (_, n) => n) } }, limits as never);
    const judged = judgeEvent(insertOf({ _id: 1, a: 7 }), { filter, projection: EVERYTHING } as never);
    expect(judged.effect).toBe(effect);
  },
);

test("the decisions of one event share the time of a tenth of a second, and the rest of them is counted", async () => {
  let nowMs = performance.now();
  const clock = vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  onTestFinished(() => clock.mockRestore());
  const slow = {
    number: 1,
    namespace: "db.things",
    get spec() {
      nowMs += 60;
      return { filter: { op: "$and", filters: [] }, projection: EVERYTHING };
    },
  } as unknown as LiveQuery;
  const { begin, read, commit, hub } = traces(() => Array.from({ length: 9 }, () => slow));
  await begin("a", "db.things");
  commit("things");
  expect(read("a")?.entries).toMatchObject([{ decisions: [{}, {}], otherLiveQueries: 7 }]);
  hub.stop();
});

test("the _id of a traced document is shown with the document alone", async () => {
  const { hub } = traces();
  const subject = { kind: "document", collection: "things", documentId: "secret" } as const;
  const asked = { id: "a", subject, endsAtMs: Date.now() + 60_000, keepsDocuments: true, isTakenUp: false };
  await hub.start(asked, { kind: "document", namespace: "db.things", idKey: KEY });
  const idFor = (mayReadDocuments: boolean) =>
    hub.read({ id: "a", after: null, mayReadDocuments }, 0)?.subject;
  expect(idFor(true)).toMatchObject({ documentId: "secret" });
  expect(idFor(false)).toMatchObject({ documentId: "…" });
  hub.stop();
});
