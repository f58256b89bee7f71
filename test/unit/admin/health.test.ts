import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { answerHealth } from "../../../src/admin/admin-server.ts";
import type { Readiness } from "../../../src/admin/readiness.ts";
import { guardParts } from "../../support/guard-parts.ts";

const READY = { ready: true, status: "ready" } as Readiness; // what the answer is made of, and no more

/** Asks for /readyz; gives the answer, and the errors that were contained. */
async function ask(readiness: () => Readiness, canWrite = true) {
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
  const guard = guardParts();
  const request = { url: "/readyz" } as IncomingMessage;
  const isAnswered = answerHealth(request, response as unknown as ServerResponse, readiness, true, guard);
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
  expect(await ask(broken)).toMatchObject({ answers: [503], calls: [] });
});

test("an answer about health that cannot be written ends its request alone, and is counted", async () => {
  expect(await ask(() => READY, false)).toMatchObject({
    isAnswered: true,
    calls: ["destroy"],
    faults: [["health.answer", 1]],
  });
});
