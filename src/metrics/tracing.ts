/**
 * Spans for sampled batches of changes, for the OpenTelemetry SDK that the process has loaded, if any. The package
 * `@opentelemetry/api` is an optional peer: it does nothing by itself, so this file forces no SDK on anybody.
 */
import type { Context, Span, Tracer } from "@opentelemetry/api";

type Api = typeof import("@opentelemetry/api");

/** The stops of a batch of changes in a node. `write` is a part of `match` and of `encode`. */
export type Stop = "read" | "order" | "match" | "encode" | "write";

/** The facts about a batch that its span tells. No values of documents are among them. */
export interface BatchFacts {
  readonly commits: number;
  readonly events: number;
  /** Size of the change events, in bytes. */
  readonly bytes: number;
  /** When MongoDB wrote the oldest commit, in epoch milliseconds; `null` if the server does not say (before 6.0). */
  readonly writtenAtMs: number | null;
}

/** The way of one sampled batch. No method throws, except what `work` throws. */
export interface BatchSpan {
  /** The batch has reached a stop, and its last one ends. */
  at(stop: Stop): void;
  /** Runs a part of a stop as a span of its own. */
  during(stop: Stop, work: () => void): void;
  /** Runs work, so that its log lines carry the ids of the trace. */
  within<T>(work: () => T): T;
  /** @param deliveries Changes that were handed to connections. */
  end(deliveries: number): void;
  /** The batch was not accepted. */
  fail(error: unknown): void;
}

/** Receives an error of the SDK, such as one of its exporters. The error never reaches the change stream. */
export type OnTracingFault = (error: unknown) => void;

/** Makes spans. */
export interface Tracing {
  /** A span for a batch; `null` for those that are not sampled. */
  sample(facts: BatchFacts): BatchSpan | null;
}

const NAME = "tidewire";

/** How many spans of `write` one batch has at most. A batch with many pauses writes at each of them. */
const WRITES_MAX = 32;

/**
 * Loads `@opentelemetry/api`, which must be installed.
 * @param sampleRatio The share of the batches that have spans, from 0 to 1. The sampler of the SDK decides after it.
 * @param random Numbers from 0 to 1, 1 excluded.
 * @returns `null` if no batch is to have spans.
 */
export async function loadTracing(
  sampleRatio: number,
  onFault: OnTracingFault,
  random = Math.random,
): Promise<Tracing | null> {
  if (sampleRatio === 0) return null;
  const api = await import("@opentelemetry/api");
  const tracer = api.trace.getTracer(NAME);
  return {
    sample(facts) {
      if (random() >= sampleRatio) return null;
      try {
        return new SampledBatch(api, tracer, facts, onFault);
      } catch (error) {
        onFault(error);
        return null;
      }
    },
  };
}

/** The ids of the present trace, under the names that OpenTelemetry gives them in logs; empty outside of a trace. */
export async function loadTraceFields(sampleRatio: number): Promise<() => Record<string, string>> {
  if (sampleRatio === 0) return () => ({});
  const { trace, isSpanContextValid } = await import("@opentelemetry/api");
  return () => {
    const present = trace.getActiveSpan()?.spanContext();
    if (present === undefined || !isSpanContextValid(present)) return {};
    const flags = present.traceFlags.toString(16).padStart(2, "0");
    return { trace_id: present.traceId, span_id: present.spanId, trace_flags: flags };
  };
}

class SampledBatch implements BatchSpan {
  readonly #api: Api;
  readonly #tracer: Tracer;
  readonly #onFault: OnTracingFault;
  readonly #root: Span;
  readonly #context: Context;
  /** Added to the monotonic clock, gives epoch milliseconds with fractions: stops take less than a millisecond. */
  readonly #epochMs = Date.now() - performance.now();
  #stop: Span | undefined;
  #writes = 0;

  constructor(
    api: Api,
    tracer: Tracer,
    { commits, events, bytes, writtenAtMs }: BatchFacts,
    onFault: OnTracingFault,
  ) {
    this.#api = api;
    this.#tracer = tracer;
    this.#onFault = onFault;
    const now = this.#nowMs;
    // The clock of MongoDB may be ahead of this machine's.
    const startTime = Math.min(writtenAtMs ?? now, now);
    const attributes = {
      "db.system.name": "mongodb",
      "tidewire.commits": commits,
      "tidewire.events": events,
      "tidewire.bytes": bytes,
    };
    const options = { kind: api.SpanKind.CONSUMER, startTime, attributes, root: true };
    this.#root = tracer.startSpan("tidewire.changes", options);
    this.#context = api.trace.setSpan(api.context.active(), this.#root);
    this.#stop = this.#start("read", startTime);
  }

  at(stop: Stop): void {
    this.#contain(() => {
      const now = this.#nowMs;
      this.#stop?.end(now);
      this.#stop = this.#start(stop, now);
    });
  }

  during(stop: Stop, work: () => void): void {
    let span: Span | undefined;
    if (++this.#writes <= WRITES_MAX)
      this.#contain(() => {
        span = this.#start(stop, this.#nowMs);
      });
    try {
      work();
    } finally {
      this.#contain(() => span?.end(this.#nowMs));
    }
  }

  within<T>(work: () => T): T {
    return this.#api.context.with(this.#context, work);
  }

  end(deliveries: number): void {
    this.#contain(() => {
      this.#root.setAttribute("tidewire.deliveries", deliveries);
      this.#end();
    });
  }

  fail(error: unknown): void {
    this.#contain(() => {
      // The name alone: a message may quote a document.
      this.#root.setAttribute("error.type", error instanceof Error ? error.name : "error");
      this.#root.setStatus({ code: this.#api.SpanStatusCode.ERROR });
      this.#end();
    });
  }

  get #nowMs(): number {
    return this.#epochMs + performance.now();
  }

  #end(): void {
    const now = this.#nowMs;
    this.#stop?.end(now);
    this.#root.end(now);
  }

  #start(stop: Stop, startTime: number): Span {
    return this.#tracer.startSpan(`tidewire.${stop}`, { startTime }, this.#context);
  }

  #contain(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#onFault(error);
    }
  }
}
