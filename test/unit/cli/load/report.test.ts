import { expect, test } from "vitest";
import { adviceFor } from "../../../../src/cli/load/advice.ts";
import { newHistogram, recordMs, summaryOf, sumOf } from "../../../../src/cli/load/histogram.ts";
import { pictureOf } from "../../../../src/cli/load/picture.ts";
import { progressText, reportText } from "../../../../src/cli/load/report.ts";
import { failuresOf, type LoadResult, type Second } from "../../../../src/cli/load/result.ts";
import { addCounts, addErrors, mergeIntervals, Tally } from "../../../../src/cli/load/tally.ts";
import { paintWith } from "../../../../src/terminal/paint.ts";
import { parseXml } from "../../../support/parse-xml.ts";

const SUMMARY = {
  count: 1_000,
  min: 1,
  mean: 5,
  p50: 4,
  p90: 9,
  p95: 10,
  p99: 123.456,
  p999: 130,
  max: 2_000,
};

const second = (seconds: number, phase: Second["phase"], more: Partial<Second> = {}): Second => ({
  seconds,
  phase,
  connected: 100,
  deliveriesPerSecond: 500,
  writesPerSecond: 50,
  bytesPerSecond: 10_000,
  lost: 0,
  p50: 4,
  p99: 20,
  max: 90,
  ...more,
});

const FINE = { writes: 1_500, wanted: 1_500, lagMs: 3, behindMs: 0 };

const RESULT: LoadResult = {
  run: "0123",
  url: "ws://127.0.0.1:8480",
  startedAt: "2026-01-01T00:00:00.000Z",
  connections: 100,
  ramp: 50,
  workers: 1,
  scenario: {},
  writing: { database: "shop", collection: "orders", writers: 1, rate: 50 },
  warmUpMs: 5_000,
  durationMs: 30_000,
  endedEarly: null,
  connect: SUMMARY,
  snapshot: SUMMARY,
  delivery: SUMMARY,
  resume: null,
  counts: { ...addCounts([]), ready: 100, received: 12_345, bytes: 3 * 1_048_576, attempts: 100 },
  unfinished: 0,
  blind: 0,
  writes: FINE,
  writerFailure: null,
  leftover: null,
  loopDelay: { p99: 1, max: 4 },
  errors: [],
  series: [
    second(1, "ramp", { p50: null, p99: null, max: null }),
    second(2, "warm-up"),
    second(3, "measure"),
  ],
  failures: [],
};

const report = (more: Partial<LoadResult> = {}) => reportText({ ...RESULT, ...more }, paintWith(false));

test("the report is a table of times, the counts, and the verdict", () => {
  expect(report().split("\n")).toEqual([
    "ws://127.0.0.1:8480: 100 of 100 users had a first result; 1,500 writes to shop.orders of 1,500 wanted; measured for 30 s",
    "",
    "times in ms   count   min  mean   p50   p90   p95  p99  p99.9    max",
    "connect       1,000  1.00  5.00  4.00  9.00  10.0  123    130  2,000",
    "first result  1,000  1.00  5.00  4.00  9.00  10.0  123    130  2,000",
    "delivery      1,000  1.00  5.00  4.00  9.00  10.0  123    130  2,000",
    "",
    "deliveries: 12,345 (500/s while measured), 0 lost, 0 repeated, 0 out of order",
    "received:   3.0 MiB, 0 documents in snapshots",
    "",
    "OK: every write arrived once, in order",
  ]);
});

test.each<[string, Partial<LoadResult>, RegExp]>([
  ["users that came back", { resume: SUMMARY }, /^resume {8}1,000/m],
  [
    "what they had missed",
    { counts: { ...RESULT.counts, caughtUp: 7 } },
    /7 of the deliveries were missed while users were away on purpose/,
  ],
  ["resets", { counts: { ...RESULT.counts, resets: 2, replaced: 30 } }, /2 resets: .* replaced 30 writes/],
  [
    "changes of another program",
    { writing: null, writes: null, delivery: null, counts: { ...RESULT.counts, unmarked: 9 } },
    /The changes had no mark, so no delivery time was measured: give --mongodb/,
  ],
  [
    "writers that are too slow",
    { writes: { writes: 94, wanted: 100, lagMs: 0, behindMs: 0 } },
    /The writers were slower than asked: 94 of 100/,
  ],
  [
    "writers that were late",
    { writes: { writes: 100, wanted: 100, lagMs: 5_000, behindMs: 0 } },
    /Writes were made up to 5,000 ms after they were due/,
  ],
  [
    "a load driver that was late",
    { loopDelay: { p99: 31, max: 400 } },
    /The load driver itself was late .* 31\.0 ms.*400 ms.*--workers/,
  ],
  ["documents that remain", { leftover: "8 documents were not deleted" }, /8 documents were not deleted/],
  ["an early end", { endedEarly: "it was stopped" }, /Ended early: it was stopped/],
  ["no writers", { writing: null, writes: null }, /no writers \(no --mongodb\)[\s\S]*OK: nothing failed/],
  ["a failure", { failures: ["3 deliveries lost"] }, /FAILED: 3 deliveries lost/],
  [
    "errors and what to do about them",
    { errors: [{ code: "unauthenticated", count: 5, message: "bad signature", advice: "Compare" }] },
    /5 × unauthenticated: bad signature\n {4}Compare\./,
  ],
])("the report names %s", (_title, more, text) => expect(report(more)).toMatch(text));

test.each<[string, Partial<LoadResult>]>([
  ["a delay of the driver below 20 ms", { loopDelay: { p99: 19, max: 400 }, delivery: null }],
  ["a delay of the driver far below the delivery times", { loopDelay: { p99: 30, max: 400 } }],
  ["writers that were hardly late", { writes: { ...FINE, lagMs: 99 } }],
])("the report does not warn about %s", (_title, more) =>
  expect(report(more)).not.toMatch(/late|after they were due/),
);

type Judged = Partial<Omit<Parameters<typeof failuresOf>[0], "counts"> & LoadResult["counts"]>;

test.each<[string, Judged, number | undefined, (string | RegExp)[]]>([
  ["nothing", {}, undefined, []],
  ["a loss", { lost: 1 }, undefined, ["1 delivery lost"]],
  ["a repetition", { repeated: 2 }, undefined, ["2 deliveries repeated"]],
  ["a wrong order", { outOfOrder: 3 }, undefined, ["3 deliveries out of order"]],
  [
    "a user without a result",
    { ready: 99, unfinished: 1 },
    undefined,
    ["1 user never received a first result"],
  ],
  ["a user that was lost later", { unfinished: 1 }, undefined, ["1 subscription not live at the end"]],
  ["a percentile at the limit", {}, 123.456, []],
  ["a percentile above the limit", {}, 123, [/it is 123\.456 ms/]],
  ["a limit and no delivery", { delivery: null }, 123, [/nothing was delivered/]],
  [
    "a limit and writes that were never made",
    { writes: { ...FINE, behindMs: 124 } },
    123.456,
    [/the writers were 124 ms behind/],
  ],
  ["writes that were never made, within the limit", { writes: { ...FINE, behindMs: 123 } }, 123.456, []],
  [
    "one subscription that saw no document",
    { blind: 1 },
    undefined,
    [/^1 subscription never saw a document .*compare `filter` with `document`/],
  ],
  ["no writers and no document", { blind: 1, received: 0, writes: null }, undefined, []],
  [
    "writes that did not arrive at all",
    { received: 0 },
    undefined,
    [/^no write arrived, so nothing was checked/],
  ],
  [
    "changes without a mark",
    { received: 0, unmarked: 9 },
    undefined,
    [/^no change had a mark, so nothing was checked.*the field `load`/],
  ],
  [
    "writers that wrote nothing",
    { received: 0, writes: { ...FINE, writes: 0 } },
    undefined,
    [/^no write was made, so nothing was checked.*--duration/],
  ],
  [
    "a writer that failed",
    { writerFailure: "MongoDB cannot be reached" },
    undefined,
    [/^a writer failed: MongoDB cannot be reached/],
  ],
])(
  "a run fails because of %s",
  (_title, { users = 100, unfinished = 0, blind = 0, delivery = SUMMARY, ...more }, p99Ms, failures) => {
    const { writes = FINE, writerFailure = null, ...counts } = more;
    const found = failuresOf(
      {
        users,
        unfinished,
        blind,
        delivery,
        writes,
        writerFailure,
        counts: { ...RESULT.counts, ...counts },
      },
      p99Ms,
    );
    expect(found).toEqual(failures.map((text) => expect.stringMatching(text)));
  },
);

test("progress is one line", () => {
  expect(progressText(second(12.4, "measure"), 2_000)).toBe(
    "  12 s measure 100/2,000 connected · 50 writes/s · 500 deliveries/s · p50 4.00 p99 20.0 ms",
  );
  expect(progressText(second(1, "ramp", { p50: null, p99: null, lost: 3 }), 10)).toMatch(
    /500 deliveries\/s · LOST 3$/,
  );
});

test("the picture is well-formed, and shows each line and each phase", () => {
  const svg = pictureOf({ ...RESULT, failures: ["a < b & c"] });
  const { names, texts } = parseXml(svg);
  expect(names.filter((name) => name === "path")).toHaveLength(5);
  for (const text of [
    "p50",
    "p99",
    "maximum",
    "deliveries",
    "connected",
    "measure",
    "seconds since the start",
  ])
    expect(texts).toContain(text);
  expect(texts.some((text) => text.includes("a < b & c"))).toBe(true);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
});

test("a picture of a run that has ended at once has no second, and is well-formed", () => {
  const svg = pictureOf({ ...RESULT, series: [], connect: null, snapshot: null, delivery: null });
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  expect(parseXml(svg).texts.join("\n")).toContain("delivery: none");
});

test("percentiles are those of the recorded times, within their figures, and sums are of all threads", () => {
  const [one, two] = [newHistogram(3), newHistogram(3)];
  for (let ms = 1; ms <= 100; ms++) recordMs(ms % 2 === 0 ? one : two, ms);
  const summary = summaryOf(sumOf([one, two], 3));
  expect(summary).toMatchObject({ count: 100, min: 1 });
  expect(summary?.p50).toBeCloseTo(50, -0.5);
  expect(summary?.p99).toBeCloseTo(99, -0.5);
  expect(summary?.max).toBeCloseTo(100, -0.5);
  expect(summaryOf(newHistogram(3))).toBeNull();
});

test("times outside of the range of a histogram are recorded at its ends", () => {
  const histogram = newHistogram(3);
  for (const ms of [-5, 0, 1e9]) recordMs(histogram, ms);
  expect(summaryOf(histogram)).toMatchObject({ count: 3, min: 0.001 });
});

test("deliveries of writes from the measured part count for the result, whenever they arrive", () => {
  const tally = new Tally();
  tally.delivered(100, 150); // before the window is known
  tally.measure(200, 300);
  tally.delivered(199.9, 250);
  tally.delivered(200, 205);
  tally.delivered(299, 9_000); // arrives long after the measured part
  tally.delivered(300, 301);
  expect(tally.takeInterval().delivery.count).toBe(5);
  expect(tally.takeInterval().delivery.count).toBe(0);
  const { delivery } = tally.figures(0, 0, 0);
  expect(summaryOf(delivery)).toMatchObject({ count: 2, min: 5 });
  expect(summaryOf(delivery)?.max).toBeGreaterThan(8_600);
});

test("a measured part that ends early counts no write that was due later", () => {
  const tally = new Tally();
  tally.measure(200, 300);
  tally.measure(200, 250);
  tally.delivered(260, 270);
  expect(tally.figures(0, 0, 0).delivery.count).toBe(0);
});

test("a report of a thread that replaces an earlier one keeps its delivery times", () => {
  const tally = new Tally();
  tally.delivered(0, 5_000);
  const first = tally.takeInterval();
  tally.counts.received = 7;
  tally.delivered(0, 1);
  const both = mergeIntervals(first, tally.takeInterval());
  expect(both.counts.received).toBe(7);
  expect(summaryOf(both.delivery)).toMatchObject({ count: 2, min: 1 });
  expect(summaryOf(both.delivery)?.max).toBeGreaterThan(4_900);
});

test("errors are counted by code, with their first text, up to a number of codes", () => {
  const tally = new Tally();
  for (let at = 0; at < 60; at++) tally.error(`code-${at}`, `text ${at}`);
  tally.error("code-1", "another text");
  const { errors } = tally.takeInterval();
  expect(errors).toHaveLength(51);
  expect(errors).toContainEqual({ code: "code-1", count: 2, message: "text 1" });
  expect(errors).toContainEqual({ code: "other", count: 10, message: "text 50" });
  expect(addErrors([errors, errors])[0]).toEqual({ code: "other", count: 20, message: "text 50" });
});

test.each<[string, string, RegExp]>([
  ["close 1006 ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:1", /Is the service running\?/],
  ["close 4400 HTTP 404", "HTTP 404: not found", /not the admin listener/],
  [
    "too-many-requests connectionsPerAddress",
    "more than 200 connections",
    /one address\. Raise.*--connections/,
  ],
  ["close 1013 connectRatePerAddress", "HTTP 429: …", /--ramp/],
  ["close 1013 HTTP 408", 'HTTP 408: {"code":"bad-request"}', /too busy.*slower --ramp/],
  ["close 1006", "Opening handshake has timed out", /too busy.*slower --ramp/],
  ["too-many-requests connectionsPerUser", "more than 50", /Number them in the scenario/],
  ["unauthenticated", "the token is not valid", /Compare the secret or key with auth\.jwt/],
  ["forbidden", "no rule", /tidewire explain/],
  ["unknown-collection", "x", /does not have under `collections`/],
])("the error %s has an advice", (code, message, advice) =>
  expect(adviceFor({ code, message })).toMatch(advice),
);

test("an error that explains itself has no advice", () => {
  expect(adviceFor({ code: "internal", message: "x" })).toBeUndefined();
});
