import { expect, onTestFinished, test } from "vitest";
import { RequestRecorder } from "../../../src/gateway/rights/request-recorder.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { recordingLog } from "../../support/node.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const KEPT_MS = 1_000_000;
const rules = compileRules(
  toConfig(
    testConfig("mongodb://127.0.0.1", "shop", {
      collections: { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } },
    }),
  ),
);

function recorder(save: () => Promise<void> = async () => {}) {
  const saved: string[] = [];
  const metrics = createMetrics();
  const made = new RequestRecorder(KEPT_MS, {
    save: async (batch) => {
      await save();
      for (const { text } of batch) saved.push(text);
    },
    isOutage: (error) => (error as Error).message === "outage",
    metrics,
    log: recordingLog().log,
  });
  onTestFinished(() => made.stop());
  const note = (sub: string, filter: Record<string, unknown>, nowMs = 0) => {
    const identity = { claims: { sub, email: "secret" } };
    // The recorder reads nothing else of an identity.
    made.note(rules, identity as never, { collection: "items", filter }, nowMs);
  };
  const count = async (outcome: string) =>
    (await metrics.recordedRequests.get()).values.find(({ labels }) => labels["outcome"] === outcome)
      ?.value ?? 0;
  return { made, saved, note, count };
}

test("saves each distinct request once, with the claims that rules read and no others", async () => {
  const { made, saved, note } = recorder();
  for (let n = 0; n < 3; n++) note("ada", { a: 1 });
  note("ben", { a: 1 });
  await made.save(0);
  note("ada", { a: 1 }, KEPT_MS * 0.1 - 1);
  await made.save(0);
  expect(saved).toEqual([
    '{"request":{"collection":"items","filter":{"a":1}},"claims":{"sub":"ada"},"reads":[["sub"]]}',
    '{"request":{"collection":"items","filter":{"a":1}},"claims":{"sub":"ben"},"reads":[["sub"]]}',
  ]);
  note("ada", { a: 1 }, KEPT_MS * 0.1);
  await made.save(KEPT_MS * 0.1);
  expect(saved, "one that is made again is renewed after a while").toHaveLength(3);
});

test("is bounded, counts what it drops, and goes on after an outage", async () => {
  let fails = true;
  const { made, saved, note, count } = recorder(async () => {
    if (fails) throw new Error("outage");
  });
  for (let n = 0; n < 2_001; n++) note("ada", { n });
  note("ada", { text: "x".repeat(17_000) });
  expect(await count("dropped")).toBe(2);
  await made.save(0);
  expect(await count("dropped")).toBe(2_002);
  fails = false;
  note("ada", { n: 1 });
  await made.save(0);
  expect(saved).toHaveLength(1);
  expect(await count("saved")).toBe(1);
});
