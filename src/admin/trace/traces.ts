/**
 * The traces of one process. While none runs, the feed and the gateway hold no reference to this code. An error of a
 * trace ends that trace, and never the loop that serves all clients.
 */
import type { Logger } from "pino";
import type { Chunk } from "../../feed/chunk.ts";
import type { CommitTrace } from "../../feed/commit-trace.ts";
import type { Feed } from "../../feed/feed.ts";
import type { HistoryEntry } from "../../feed/history.ts";
import type { LiveQuery } from "../../feed/live-query.ts";
import type {
  ClientTrace,
  TracedAttachment,
  TracedClient,
  TracedRequest,
  TracedSubscription,
} from "../../gateway/client-trace.ts";
import type { GatewayContext } from "../../gateway/context.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import { guarded, noteFault } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { TidewireError } from "../../protocol/errors.ts";
import { explainRules } from "../../rules/explain-authorization.ts";
import type { StreamEvent } from "../../source/change-event.ts";
import { type Subject, Trace, type TraceParts } from "./trace.ts";
import type { TracedRights, TraceEnd, TraceRead, TraceStart, TraceState, TraceToStart } from "./traced.ts";

/** All traces of a process together may work this long in each second, in milliseconds. Further events are skipped. */
const WORK_MS = 100;
/** Connections that are examined before other work runs, when a trace begins. */
const CONNECTIONS_STEP = 500;

/** The limits of traces. */
export interface TraceLimits {
  /** Traces at a time. */
  readonly traces: number;
  /** Entries that one trace keeps. */
  readonly traceEvents: number;
}

/** The parts of a process that traces use. */
export interface TracesParts {
  readonly names: { readonly node: string; readonly id: string };
  readonly feed: Pick<Feed, "trace" | "liveQueriesOf">;
  readonly gateway: Pick<Gateway, "each">;
  readonly context: Pick<GatewayContext, "rules" | "trace">;
  /** MongoDB's clock, in epoch milliseconds. */
  readonly serverNowMs: () => number;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "traces" | "traceEvents" | "unexpectedErrors">;
}

/** The clock of all steps. Its parts of a millisecond are real. */
const now = (): number => performance.timeOrigin + performance.now();

/** Starts, feeds, reads and ends traces. */
export class Traces implements CommitTrace, ClientTrace {
  readonly #limits: TraceLimits;
  readonly #parts: TracesParts;
  /** The running ones, and the latest that have ended, in the order of their start. */
  readonly #byId = new Map<string, Trace>();
  #running: readonly Trace[] = [];
  #receivedAtMs = 0;
  #secondFromMs = 0;
  #workMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: TraceLimits, parts: TracesParts) {
    this.#limits = limits;
    this.#parts = parts;
  }

  /** Starts a trace. The subscriptions that exist already are its first entries. */
  async start(asked: TraceToStart, subject: Subject): Promise<TraceStart> {
    this.#tick();
    if (this.#running.length >= this.#limits.traces) return "too-many";
    for (const [id, trace] of this.#byId)
      if (!trace.isRunning && this.#byId.size >= this.#limits.traces) this.#byId.delete(id);
    const { names, feed, metrics } = this.#parts;
    const parts: TraceParts = {
      node: names.node,
      process: names.id,
      eventsMax: this.#limits.traceEvents,
      liveQueriesOf: (namespace) => feed.liveQueriesOf(namespace),
      clockOffsetMs: () => this.#parts.serverNowMs() - Date.now(),
      onDropped: () => metrics.traceEvents.inc({ outcome: "dropped" }),
    };
    const trace = new Trace(asked, subject, parts);
    this.#byId.set(asked.id, trace);
    this.#noteRunning();
    try {
      await this.#noteExisting(trace);
    } catch (error) {
      this.#fault(trace, error);
    }
    return "started";
  }

  /** `null` if there is no such trace in this process. */
  read({ id, mayReadDocuments }: TraceRead, after: number): TraceState | null {
    this.#tick();
    return this.#byId.get(id)?.read(after, mayReadDocuments) ?? null;
  }

  /** Whether there is such a trace in this process. Its entries stay readable. */
  end(id: string): boolean {
    const trace = this.#byId.get(id);
    if (trace !== undefined) this.#end(trace, "stopped");
    return trace !== undefined;
  }

  /** Ends all traces. */
  stop(): void {
    for (const trace of this.#running) this.#end(trace, "stopped");
  }

  received(): void {
    this.#receivedAtMs = now();
  }

  arrived(entry: HistoryEntry): void {
    this.#each((trace) => {
      const events = entry.commit.events.filter((event) => trace.concerns(event));
      if (events.length > 0) this.#record(trace, entry, events);
    });
  }

  #record(trace: Trace, entry: HistoryEntry, events: readonly StreamEvent[]): void {
    const { traceEvents } = this.#parts.metrics;
    const fromMs = performance.now();
    if (this.#isOverWork(fromMs)) {
      trace.skip(events.length);
      traceEvents.inc({ outcome: "skipped" }, events.length);
      return;
    }
    trace.record(entry, events, this.#receivedAtMs);
    traceEvents.inc({ outcome: "recorded" }, events.length);
    this.#workMs += performance.now() - fromMs;
  }

  #isOverWork(nowMs: number): boolean {
    if (nowMs - this.#secondFromMs >= 1_000) {
      this.#secondFromMs = nowMs;
      this.#workMs = 0;
    }
    return this.#workMs >= WORK_MS;
  }

  matched(liveQuery: LiveQuery, entry: HistoryEntry): void {
    this.#each((trace) => trace.matched(liveQuery, entry, now()));
  }

  offered(attachment: object, chunk: Chunk, isWritten: boolean): void {
    if (isWritten) this.#each((trace) => trace.sent(attachment, chunk, now()));
  }

  started(client: TracedClient, subscription: TracedSubscription, how: string): void {
    this.#each((trace) => this.#noteStarted(trace, client, subscription, how));
  }

  refused(client: TracedClient, { id, request }: TracedRequest, error: unknown): void {
    const outcome = `refused: ${error instanceof TidewireError ? error.code : "internal"}`;
    this.#each((trace) => {
      if (trace.isAbout(client.identity?.sub ?? null, null))
        this.#recordRights(trace, client, { subscription: id, collection: request.collection, outcome });
    });
  }

  ended(client: TracedClient, { id, request, attachment }: TracedSubscription, reason: string): void {
    const outcome = `ended: ${reason}`;
    this.#each((trace) => {
      if (trace.isAbout(client.identity?.sub ?? null, attachment))
        this.#recordRights(trace, client, { subscription: id, collection: request.collection, outcome });
    });
  }

  #noteStarted(
    trace: Trace,
    client: TracedClient,
    { id, request, attachment }: TracedSubscription,
    outcome: string,
  ): void {
    const sub = client.identity?.sub ?? null;
    if (!trace.isAbout(sub, attachment)) return;
    trace.watch(attachment, { connection: this.#idOf(client), sub });
    const { collection } = request;
    this.#recordRights(trace, client, { subscription: id, collection, outcome }, attachment);
  }

  #recordRights(
    trace: Trace,
    client: TracedClient,
    about: Pick<TracedRights, "subscription" | "collection" | "outcome">,
    attachment: TracedAttachment | null = null,
  ): void {
    if (!trace.recordsRights) return;
    const { context, names } = this.#parts;
    const rules = explainRules(context.rules, client.identity, about.collection).slice(0, 20);
    const rights = {
      ...about,
      connection: this.#idOf(client),
      sub: client.identity?.sub ?? null,
      rule: attachment?.query.rule ?? null,
      liveQuery: attachment === null ? null : `${names.id}.${attachment.delivery.liveQuery.number}`,
      rules,
    };
    trace.recordRights(rights, now());
  }

  #idOf({ id }: TracedClient): string {
    return `${this.#parts.names.id}.${id}`;
  }

  async #noteExisting(trace: Trace): Promise<void> {
    let seen = 0;
    for (const connection of this.#parts.gateway.each()) {
      for (const subscription of connection.subscriptions)
        if (trace.isRunning && subscription.isAnswered)
          this.#noteStarted(trace, connection, subscription, "follows");
      if (++seen % CONNECTIONS_STEP === 0) await new Promise(setImmediate);
    }
  }

  /** Runs a step of each trace. An error ends the trace that it belongs to. */
  #each(run: (trace: Trace) => void): void {
    for (const trace of this.#running) {
      try {
        run(trace);
      } catch (error) {
        this.#fault(trace, error);
      }
    }
  }

  #fault(trace: Trace, error: unknown): void {
    noteFault(this.#parts, "admin.trace", error);
    this.#end(trace, "fault");
  }

  #end(trace: Trace, reason: TraceEnd): void {
    trace.end(reason);
    this.#noteRunning();
  }

  /** Ends the traces whose time is over, or whose live query exists no more. */
  #tick(): void {
    const nowMs = Date.now();
    for (const trace of this.#running) {
      if (trace.asked.endsAtMs <= nowMs) this.#end(trace, "time");
      else if (trace.isOrphan) this.#end(trace, "gone");
    }
  }

  #noteRunning(): void {
    const { feed, context, metrics } = this.#parts;
    this.#running = [...this.#byId.values()].filter(({ isRunning }) => isRunning);
    const observer = this.#running.length === 0 ? null : this;
    feed.trace.observer = observer;
    context.trace = observer;
    metrics.traces.set(this.#running.length);
    clearTimeout(this.#timer);
    if (observer === null) return;
    const endsAtMs = Math.min(...this.#running.map(({ asked }) => asked.endsAtMs));
    const tick = guarded(this.#parts, "admin.trace", () => {
      this.#tick();
      this.#noteRunning();
    });
    this.#timer = setTimeout(tick, Math.max(1, endsAtMs - Date.now())).unref();
  }
}
