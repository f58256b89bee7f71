import { randomUUID } from "node:crypto";
import { Outage } from "../outage.ts";
import type { Processes } from "../questions.ts";
import type { TracedEntry, TraceStart, TraceState, TraceSubject } from "../trace/traced.ts";
import type { Acts } from "./acts.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { senderOf } from "./session-handlers.ts";

type StartRequest = Parameters<Handlers["startTrace"]>[1];

const mayReadDocuments = (call: Call): boolean => senderOf(call).admin.roles.has("documents");

/** The handlers of traces. */
export function traceHandlers(
  processes: Processes,
  acts: Acts,
): Pick<Handlers, "startTrace" | "readTrace" | "stopTrace"> {
  return {
    startTrace: async (call, request) => {
      const subject = subjectOf(request);
      const id = randomUUID();
      const endsAtMs = call.nowMs + 1_000 * request.seconds;
      const asked = { id, subject, endsAtMs, keepsDocuments: mayReadDocuments(call), isTakenUp: false };
      const target = { ...targetOf(subject), seconds: request.seconds };
      const act = { act: "trace", target, ifUnconfirmed: UNCONFIRMED };
      await acts.run(call, act, async () => {
        const stop = () => processes.all("stopTrace", id);
        try {
          const refusal = refusalOf(await processes.all("startTrace", asked));
          if (refusal !== null) throw refusal;
        } catch (error) {
          await stop().catch(() => {}); // a process without an answer ends the trace by itself, when its time is over
          throw error;
        }
      });
      return { id, endsAt: new Date(endsAtMs).toISOString() };
    },
    readTrace: async (call, { id, after = null }) => {
      const mayRead = mayReadDocuments(call);
      const found = await processes.all("readTrace", { id, after, mayReadDocuments: mayRead });
      const states = found.filter((state) => state !== null);
      if (found.length === 0) throw new Outage("no worker is up", { stillHappen: false });
      const [first] = states;
      if (first === undefined) throw noTrace();
      const sum = (of: (state: TraceState) => number) =>
        states.reduce((total, state) => total + of(state), 0);
      const here = states.map(({ next }) => `${next.process}.${next.version}`);
      const left = leftIn(after, states);
      return {
        subject: first.subject,
        endsAt: new Date(first.endsAtMs).toISOString(),
        ended: first.ended,
        redacted: !(mayRead && first.keepsDocuments),
        entries: states.flatMap(({ entries }) => entries.map(entryOf)),
        hasMore: states.some(({ hasMore }) => hasMore),
        next: [...here, ...left].join(","),
        lostWorkers: Math.max(left.length, states.filter(({ isTakenUp }) => isTakenUp).length),
        dropped: sum(({ dropped }) => dropped),
        skipped: sum(({ skipped }) => skipped),
      };
    },
    stopTrace: async (_call, { id }) => {
      const stopped = await processes.all("stopTrace", id);
      if (!stopped.includes(true)) throw noTrace();
      return {};
    },
  };
}

const UNCONFIRMED =
  "Nobody can read it, and it ends when its time is over. Start another trace as soon as all workers answer";

const NO_TRACE =
  "there is no such trace: it has ended, and others have taken its room, or the worker that had it has ended";
const noTrace = () => new ApiError(404, "no-trace", NO_TRACE);

/** Workers that are remembered after their end. `next` has a limit. */
const LEFT_MAX = 100;

/** The processes that the reader of a trace has read from, and that have ended since, each with its version. */
function leftIn(after: string | null, states: readonly TraceState[]): string[] {
  const here = new Set(states.map(({ next }) => next.process));
  const known = after?.split(",") ?? [];
  return known.filter((part) => !here.has(part.split(".")[0] ?? "")).slice(-LEFT_MAX);
}

function subjectOf({ sub, liveQuery, collection, documentId }: StartRequest): TraceSubject {
  const isDocument = collection !== undefined && documentId !== undefined;
  const isHalf = (collection === undefined) !== (documentId === undefined);
  const named = [sub, liveQuery, isDocument ? collection : undefined].filter((one) => one !== undefined);
  if (isHalf || named.length !== 1)
    throw new ApiError(400, "bad-request", "name one subject: sub, liveQuery, or collection with documentId");
  if (sub !== undefined) return { kind: "sub", sub };
  if (liveQuery !== undefined) return { kind: "live-query", liveQuery };
  return { kind: "document", collection: collection ?? "", documentId };
}

/** The subject in the audit. The `_id` is not part of it, because readers of the audit may not see documents. */
function targetOf(subject: TraceSubject): Readonly<Record<string, string>> {
  if (subject.kind === "sub") return { sub: subject.sub };
  if (subject.kind === "live-query") return { liveQuery: subject.liveQuery };
  return { collection: subject.collection, document: "one" };
}

/** `null` if at least one process follows the subject, and none of them refuses. */
function refusalOf(starts: readonly TraceStart[]): ApiError | null {
  if (starts.includes("too-many")) {
    const text = "server.admin.traces are running already: stop one, or wait until its time is over";
    return new ApiError(429, "busy", text);
  }
  if (starts.includes("no-collection"))
    return new ApiError(404, "no-collection", "the rules in force have no such collection");
  if (starts.includes("bad-id"))
    return new ApiError(400, "bad-request", "documentId: not an _id in Extended JSON");
  if (starts.includes("started")) return null;
  return new ApiError(
    404,
    "no-live-query",
    "there is no such live query on this node: nobody follows it any more",
  );
}

function entryOf({ atMs, ...entry }: TracedEntry) {
  return { ...entry, at: new Date(atMs).toISOString() };
}
