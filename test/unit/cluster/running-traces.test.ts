import { expect, test } from "vitest";
import type { TraceToStart } from "../../../src/admin/trace/traced.ts";
import { RunningTraces } from "../../../src/cluster/running-traces.ts";

const trace = (id: string, endsAtMs = 1_000): TraceToStart => ({
  id,
  subject: { kind: "sub", sub: "ada" },
  endsAtMs,
  keepsDocuments: false,
  isTakenUp: false,
});

test("a worker that starts is asked to take up the traces that run, until it follows what the others follow", () => {
  const traces = new RunningTraces();
  for (const id of ["a", "b", "c"]) traces.note("startTrace", trace(id), 0);
  traces.note("stopTrace", "b", 0);
  traces.note("readTrace", { id: "c" }, 0);
  const followed = new Set<string>();
  const next = () => traces.nextFor(followed, 0);
  expect(next()).toEqual({ question: "startTrace", value: { ...trace("a"), isTakenUp: true } });
  traces.note("stopTrace", "a", 0);
  traces.note("startTrace", trace("d"), 0);
  expect([next(), next(), next()]).toMatchObject([
    { question: "startTrace", value: { id: "c" } },
    { question: "startTrace", value: { id: "d" } },
    { question: "stopTrace", value: "a" },
  ]);
  expect(next()).toBeNull();
  expect([...followed]).toEqual(["c", "d"]);
});

test("a trace whose time is over is not taken up", () => {
  const traces = new RunningTraces();
  traces.note("startTrace", trace("a", 1_000), 0);
  traces.note("startTrace", trace("b", 1_001), 0);
  expect(traces.nextFor(new Set(), 1_000)).toMatchObject({ value: { id: "b" } });
  expect(traces.nextFor(new Set(["b"]), 1_000)).toBeNull();
});

test("traces that have ended by their time are forgotten when another one starts, because nobody says that they have ended", () => {
  const traces = new RunningTraces();
  for (let at = 0; at < 100; at++) traces.note("startTrace", trace(`t${at}`, at + 5), at);
  expect(traces.size).toBe(5);
});
