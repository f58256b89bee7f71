/** Spans of batches, with the real SDK of OpenTelemetry, which keeps them in memory. */
import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadTraceFields, loadTracing, type Tracing } from "../../../src/metrics/tracing.ts";

let exporter: InMemorySpanExporter;
/** Set by tests: the SDK fails at its next call. */
let isBroken = false;

beforeEach(() => {
  exporter = new InMemorySpanExporter();
  const breaking = {
    onStart() {
      if (isBroken) throw new Error("an exporter that fails");
    },
    onEnd() {
      if (isBroken) throw new Error("an exporter that fails");
    },
    forceFlush: async () => {},
    shutdown: async () => {},
  };
  const spanProcessors = [new SimpleSpanProcessor(exporter), breaking];
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});

afterEach(() => {
  isBroken = false;
  trace.disable();
  context.disable();
});

const FACTS = { commits: 2, events: 3, bytes: 400, writtenAtMs: null };

async function tracingOf(ratio: number, random = 0): Promise<Tracing> {
  const tracing = await loadTracing(
    ratio,
    (error) => {
      throw error;
    },
    () => random,
  );
  if (tracing === null) throw new Error("no tracing");
  return tracing;
}

const msOf = ([seconds, ns]: readonly [number, number]) => seconds * 1_000 + ns / 1e6;
const finished = () => {
  const spans = exporter.getFinishedSpans();
  const named = (name: string) => spans.filter((span) => span.name === `tidewire.${name}`);
  const [root] = named("changes");
  if (root === undefined) throw new Error("the batch has no span");
  return { spans, named, root };
};
const only = ([span]: readonly ReadableSpan[]) => {
  if (span === undefined) throw new Error("no such span");
  return span;
};

test("makes no spans unless the configuration asks for them", async () => {
  expect(await loadTracing(0, () => {})).toBeNull();
});

test.each([
  [0.25, 0.249, true],
  [0.25, 0.25, false],
  [1, 0.999, true],
])(
  "with a ratio of %d and a random number of %d a batch is sampled: %s",
  async (ratio, random, isSampled) => {
    expect((await tracingOf(ratio, random)).sample(FACTS) !== null).toBe(isSampled);
  },
);

test("the stops of a batch follow each other under one span, from the write on", async () => {
  const writtenAtMs = Date.now() - 1_500;
  const span = (await tracingOf(1)).sample({ ...FACTS, writtenAtMs });
  span?.at("order");
  span?.at("match");
  span?.at("encode");
  span?.during("write", () => {});
  span?.end(7);
  const { spans, named, root } = finished();
  expect(msOf(root.startTime)).toBeCloseTo(writtenAtMs, 0);
  expect(root.attributes).toMatchObject({
    "tidewire.commits": 2,
    "tidewire.events": 3,
    "tidewire.bytes": 400,
    "tidewire.deliveries": 7,
  });
  const stops = ["read", "order", "match", "encode"].map((stop) => only(named(stop)));
  for (const [at, stop] of stops.entries()) {
    const next = stops[at + 1];
    if (next !== undefined) expect(next.startTime).toEqual(stop.endTime);
  }
  const parents = new Set(spans.map(({ parentSpanContext }) => parentSpanContext?.spanId));
  expect(parents).toEqual(new Set([undefined, root.spanContext().spanId]));
  expect(spans.length).toBe(6);
});

test("a write in the future, by a clock that is ahead, begins now", async () => {
  const before = Date.now();
  (await tracingOf(1)).sample({ ...FACTS, writtenAtMs: before + 60_000 })?.end(0);
  expect(msOf(finished().root.startTime)).toBeLessThan(before + 30_000);
});

test("a batch that writes very often has a bounded number of spans, and all of its writes", async () => {
  const span = (await tracingOf(1)).sample(FACTS);
  let writes = 0;
  for (let n = 0; n < 100; n++) span?.during("write", () => void writes++);
  span?.end(0);
  expect([finished().named("write").length, writes]).toEqual([32, 100]);
});

test("an error is noted by its name, because its message may quote a document", async () => {
  const span = (await tracingOf(1)).sample(FACTS);
  span?.fail(new RangeError("ada@example.com"));
  const { root } = finished();
  expect(root.status.code).toBe(SpanStatusCode.ERROR);
  expect(root.attributes).toMatchObject({ "error.type": "RangeError" });
  expect(JSON.stringify([root.attributes, root.events, root.status])).not.toContain("ada@example.com");
});

test("an SDK that fails is reported, and stops no batch", async () => {
  const faults: unknown[] = [];
  const tracing = await loadTracing(
    1,
    (error) => faults.push(error),
    () => 0,
  );
  const span = tracing?.sample(FACTS) ?? null;
  expect(span).not.toBeNull();
  isBroken = true;
  let hasRun = false;
  span?.at("match");
  span?.during("write", () => {
    hasRun = true;
  });
  span?.end(1);
  expect([hasRun, faults.length > 0, tracing?.sample(FACTS)]).toEqual([true, true, null]);
});

test("log lines carry the ids of the trace that they are written in, and of no other", async () => {
  const fields = await loadTraceFields(1);
  expect(fields()).toEqual({});
  const span = (await tracingOf(1)).sample(FACTS);
  const within = await span?.within(async () => {
    await null;
    return fields();
  });
  span?.end(0);
  const { traceId, spanId } = finished().root.spanContext();
  expect(within).toEqual({ trace_id: traceId, span_id: spanId, trace_flags: "01" });
  expect(fields()).toEqual({});
});
