/** Traces over several workers: one trace in each, of which the reader sees one. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { Acts } from "../../../src/admin/api/acts.ts";
import type { Call } from "../../../src/admin/api/endpoint.ts";
import { traceHandlers } from "../../../src/admin/api/trace-handlers.ts";
import type { Processes } from "../../../src/admin/questions.ts";
import type { TraceStart, TraceState } from "../../../src/admin/trace/traced.ts";

const state = (process: string, version: number, isTakenUp = false): TraceState => ({
  subject: { kind: "sub", sub: "ada" },
  endsAtMs: 60_000,
  ended: null,
  keepsDocuments: true,
  isTakenUp,
  entries: [],
  hasMore: process === "b",
  next: { process, version },
  dropped: 1,
  skipped: 2,
});

/** @param answers By question, the answer of each process. */
function handlers(answers: Readonly<Record<string, readonly unknown[]>>) {
  const asked: string[] = [];
  const processes = {
    all: async (question: string) => {
      asked.push(question);
      return answers[question] ?? [];
    },
    one: async (question: string) => {
      asked.push(question);
      return null;
    },
  } as unknown as Processes;
  const admin = {
    name: "eve",
    roles: new Set(["act", "documents"]),
    expiresAtMs: null,
    isTrusted: () => true,
  };
  const call: Call = {
    sender: { admin, session: null } as unknown as Call["sender"],
    from: "",
    nowMs: 0,
    request: {} as IncomingMessage,
    response: {} as ServerResponse,
  };
  return { asked, call, handle: traceHandlers(processes, new Acts(processes)) };
}

const begin = (...starts: readonly TraceStart[]) => {
  const { asked, call, handle } = handlers({ startTrace: starts, stopTrace: [true] });
  return { asked, started: (async () => handle.startTrace(call, { sub: "ada", seconds: 1 }))() };
};

test("the answers of all workers are one, and its next names the version of each", async () => {
  const { call, handle } = handlers({ readTrace: [state("a", 3), null, state("b", 5)] });
  expect(await handle.readTrace(call, { id: "x" })).toMatchObject({
    next: "a.3,b.5",
    hasMore: true,
    dropped: 2,
    skipped: 4,
    redacted: false,
    lostWorkers: 0,
  });
});

test("an answer says that a worker has ended, before and after another one replaces it", async () => {
  const { call, handle } = handlers({ readTrace: [state("a", 4)] });
  const first = await handle.readTrace(call, { id: "x", after: "a.3,b.5" });
  expect(first).toMatchObject({ next: "a.4,b.5", lostWorkers: 1 });
  const replaced = handlers({ readTrace: [state("a", 4), state("c", 1, true)] });
  const later = await replaced.handle.readTrace(replaced.call, { id: "x", after: first.next });
  expect(later).toMatchObject({ next: "a.4,c.1,b.5", lostWorkers: 1 });
  // A reader who begins now has not read from the worker that has ended.
  expect(await replaced.handle.readTrace(replaced.call, { id: "x" })).toMatchObject({ lostWorkers: 1 });
});

test("while no worker is up, a trace is not gone", async () => {
  const { call, handle } = handlers({ readTrace: [] });
  await expect(handle.readTrace(call, { id: "x" })).rejects.toMatchObject({ name: "Outage" });
});

test("a trace begins after its entry in the audit, and runs if one worker has the subject", async () => {
  const { asked, started } = begin("not-here", "started");
  await started;
  expect(asked).toEqual(["addAudit", "startTrace"]);
});

test.each([
  [["started", "too-many"], "busy"],
  [["not-here", "not-here"], "no-live-query"],
  [["no-collection", "no-collection"], "no-collection"],
  [["bad-id"], "bad-request"],
] as const)("workers that answer %j end what has begun, and the refusal is %s", async (starts, code) => {
  const { asked, started } = begin(...starts);
  await expect(started).rejects.toMatchObject({ code });
  expect(asked.at(-1)).toBe("stopTrace");
});

test("a trace that no worker has is not there", async () => {
  const { call, handle } = handlers({ readTrace: [null, null], stopTrace: [false, false] });
  await expect(handle.readTrace(call, { id: "x" })).rejects.toMatchObject({ code: "no-trace" });
  await expect(handle.stopTrace(call, { id: "x" })).rejects.toMatchObject({ code: "no-trace" });
});
