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
import { preciseNow } from "../../metrics/precise-now.ts";
import { TidewireError } from "../../protocol/errors.ts";
import { type FilterText, predicateText, redactedText } from "../../rules/deciding-predicate.ts";
import { explainRules } from "../../rules/explain-authorization.ts";
import type { StreamEvent } from "../../source/change-event.ts";
import { type Subject, Trace, type TraceParts } from "./trace.ts";
import type { TracedRights, TraceEnd, TraceRead, TraceStart, TraceState, TraceToStart } from "./traced.ts";

/** All traces of a process together may work this long in each second, in milliseconds. Further events are skipped. */
const WORK_MS = 100;
/** How long subscriptions are examined before other work runs, when a trace begins, in milliseconds. */
const STEP_MS = 10;
/** Events of a commit whose subject is compared before the time is looked at. */
const EVENTS_STEP = 256;
/** Rules that one entry about rights explains. */
const RULES_MAX = 20;

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
    this.#receivedAtMs = preciseNow();
  }

  arrived(entry: HistoryEntry): void {
    this.#each((trace) => {
      const work = this.#beginWork();
      if (work.isOver()) this.#skip(trace, entry.commit.events.length);
      else this.#record(trace, entry, work.isOver);
      work.end();
    });
  }

  #record(trace: Trace, entry: HistoryEntry, isOverWork: () => boolean): void {
    const concerned: StreamEvent[] = [];
    const { events } = entry.commit;
    for (const [index, event] of events.entries()) {
      if (index % EVENTS_STEP === EVENTS_STEP - 1 && isOverWork()) {
        this.#skip(trace, events.length - index);
        break;
      }
      if (trace.concerns(event)) concerned.push(event);
    }
    if (concerned.length === 0) return;
    trace.record(entry, concerned, this.#receivedAtMs, isOverWork);
    this.#parts.metrics.traceEvents.inc({ outcome: "recorded" }, concerned.length);
  }

  #skip(trace: Trace, events: number): void {
    trace.skip(events);
    this.#parts.metrics.traceEvents.inc({ outcome: "skipped" }, events);
  }

  /** Work that counts from here on. */
  #beginWork(): { readonly isOver: () => boolean; readonly end: () => void } {
    const fromMs = performance.now();
    const before = this.#isOverWork(fromMs) ? WORK_MS : this.#workMs;
    return {
      isOver: () => before + performance.now() - fromMs >= WORK_MS,
      end: () => {
        this.#workMs += performance.now() - fromMs;
      },
    };
  }

  #isOverWork(nowMs: number): boolean {
    if (nowMs - this.#secondFromMs >= 1_000) {
      this.#secondFromMs = nowMs;
      this.#workMs = 0;
    }
    return this.#workMs >= WORK_MS;
  }

  matched(liveQuery: LiveQuery, entry: HistoryEntry): void {
    this.#each((trace) => trace.matched(liveQuery, entry, preciseNow()));
  }

  offered(attachment: object, chunk: Chunk, isWritten: boolean): void {
    if (isWritten) this.#each((trace) => trace.sent(attachment, chunk, preciseNow()));
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
    { id, request, attachment, query: { rule } }: TracedSubscription,
    outcome: string,
  ): void {
    const sub = client.identity?.sub ?? null;
    if (!trace.isAbout(sub, attachment)) return;
    trace.watch(attachment, { connection: this.#idOf(client), sub });
    const { collection } = request;
    this.#recordRights(trace, client, { subscription: id, collection, outcome }, { attachment, rule });
  }

  #recordRights(
    trace: Trace,
    client: TracedClient,
    about: Pick<TracedRights, "subscription" | "collection" | "outcome">,
    granted: { readonly attachment: TracedAttachment; readonly rule: string } | null = null,
  ): void {
    if (!trace.recordsRights) return;
    const { context, names } = this.#parts;
    const work = this.#beginWork();
    if (work.isOver()) {
      this.#skip(trace, 1);
      return;
    }
    // A condition that holds shows a claim of the user.
    const explained = (text: FilterText) =>
      explainRules(context.rules, client.identity, about.collection, RULES_MAX, text);
    const rights = {
      ...about,
      connection: this.#idOf(client),
      sub: client.identity?.sub ?? null,
      rule: granted?.rule ?? null,
      liveQuery: granted === null ? null : `${names.id}.${granted.attachment.delivery.liveQuery.number}`,
      rules: explained(redactedText),
      withValues: trace.asked.keepsDocuments ? explained(predicateText) : null,
    };
    trace.recordRights(rights, preciseNow());
    work.end();
  }

  #idOf({ id }: TracedClient): string {
    return `${this.#parts.names.id}.${id}`;
  }

  async #noteExisting(trace: Trace): Promise<void> {
    let untilMs = performance.now() + STEP_MS;
    for (const connection of this.#parts.gateway.each()) {
      for (const subscription of connection.subscriptions)
        if (trace.isRunning && subscription.isAnswered)
          this.#noteStarted(trace, connection, subscription, "follows");
      if (performance.now() < untilMs) continue;
      await new Promise(setImmediate);
      untilMs = performance.now() + STEP_MS;
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
