import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { HealthRoutes } from "../../../src/admin/health.ts";
import type { Readiness } from "../../../src/admin/readiness.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { recordingLog } from "../../support/node.ts";

const READY = { ready: true, status: "ready" } as Readiness; // what the answer is made of, and no more

/** Asks for /readyz; gives the answer, and the errors that were contained. */
async function ask(
  readiness: () => Readiness,
  canWrite = true,
  guard = guardParts(),
  routes = new HealthRoutes(readiness, guard),
) {
  const answers: number[] = [];
  const calls: string[] = [];
  const response = {
    writeHead(status: number) {
      if (!canWrite) throw new Error("a bug");
      answers.push(status);
      return response;
    },
    setHeader: () => response,
    end: () => response,
    destroy: () => calls.push("destroy"),
  };
  const request = { url: "/readyz" } as IncomingMessage;
  const isAnswered = routes.answer(request, response as unknown as ServerResponse, true);
  await new Promise(setImmediate);
  const { values } = await guard.metrics.unexpectedErrors.get();
  return { isAnswered, answers, calls, faults: values.map(({ labels, value }) => [labels["where"], value]) };
}

test("a node that is ready says so", async () => {
  expect(await ask(() => READY)).toEqual({ isAnswered: true, answers: [200], calls: [], faults: [] });
});

test("a node that cannot determine its readiness is not ready", async () => {
  const broken = () => {
    throw new Error("a bug");
  };
  expect(await ask(broken)).toMatchObject({ answers: [503], calls: [], faults: [["health.readiness", 1]] });
});

test("counts every readiness that fails, and logs one of them per minute", async () => {
  const broken = () => {
    throw new Error("a bug");
  };
  const { log, errors } = recordingLog();
  const guard = { log, metrics: createMetrics() };
  let nowMs = 0;
  const routes = new HealthRoutes(broken, guard, () => nowMs);
  for (nowMs of [0, 1, 59_999]) await ask(broken, true, guard, routes);
  expect(errors()).toEqual(["the readiness could not be determined; /readyz answers 503"]);
  nowMs = 60_000;
  expect(await ask(broken, true, guard, routes)).toMatchObject({ faults: [["health.readiness", 4]] });
  expect(errors()).toHaveLength(2);
});

test("an answer about health that cannot be written ends its request alone, and is counted", async () => {
  expect(await ask(() => READY, false)).toMatchObject({
    isAnswered: true,
    calls: ["destroy"],
    faults: [["health.answer", 1]],
  });
});
