import { expect, test } from "vitest";
import { JoinedMetrics } from "../../../src/cluster/join-metrics.ts";
import type { WorkerProcess } from "../../../src/cluster/worker-process.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { processMetrics } from "../../../src/metrics/process-metrics.ts";

/** A worker in name, whose metrics are in this process. */
function fakeWorker() {
  const metrics = createMetrics();
  const worker = {
    isUp: true,
    answers: true,
    ask: async () => {
      if (!worker.answers) throw new Error("no answer");
      return structuredClone(await metrics.registry.getMetricsAsJSON());
    },
  };
  return { metrics, worker, asProcess: worker as unknown as WorkerProcess }; // all that is asked of one here
}

const own = createMetrics();
const joinedMetrics = () => new JoinedMetrics(async () => [await own.workerRestarts.get()]);

async function joinedValue(joined: JoinedMetrics, workers: readonly WorkerProcess[], name: string) {
  const text = await (await joined.registry(workers)).metrics();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1]);
}

test("adds what the workers counted, and takes the minimum of values that must be true of all of them", async () => {
  const [a, b] = [fakeWorker(), fakeWorker()];
  const workers = [a.asProcess, b.asProcess];
  a.metrics.connections.set(3);
  b.metrics.connections.set(4);
  a.metrics.rulesGeneration.set(2);
  b.metrics.rulesGeneration.set(1);
  a.metrics.streamState.set(1);
  b.metrics.streamState.set(0);
  a.metrics.deliveryLag.observe(0.02);
  b.metrics.deliveryLag.observe(0.02);
  // One edit, which both of them took.
  for (const { metrics } of [a, b]) metrics.rulesReloads.inc({ outcome: "applied" });
  const joined = joinedMetrics();
  expect(await joinedValue(joined, workers, "tidewire_connections")).toBe(7);
  expect(await joinedValue(joined, workers, "tidewire_rules_generation")).toBe(1);
  expect(await joinedValue(joined, workers, "tidewire_stream_up")).toBe(0);
  expect(await joinedValue(joined, workers, "tidewire_delivery_lag_seconds_count")).toBe(2);
  expect(await joinedValue(joined, workers, "tidewire_rules_reloads_total")).toBe(1);
  expect(await joinedValue(joined, workers, "tidewire_worker_restarts_total")).toBe(0);
});

test("no counter falls when workers end, one after another; what they had at the time is gone", async () => {
  const joined = joinedMetrics();
  const living = fakeWorker();
  living.metrics.deliveries.inc(5);
  for (let ended = 1; ended <= 3; ended++) {
    const dying = fakeWorker();
    dying.metrics.deliveries.inc(100);
    dying.metrics.deliveryLag.observe(0.02);
    dying.metrics.connections.set(9);
    const both = [living.asProcess, dying.asProcess];
    expect(await joinedValue(joined, both, "tidewire_deliveries_total")).toBe(100 * ended + 5);
    dying.worker.isUp = false;
    joined.noteEnded(dying.asProcess);
    expect(await joinedValue(joined, [living.asProcess], "tidewire_deliveries_total")).toBe(100 * ended + 5);
    expect(await joinedValue(joined, [living.asProcess], "tidewire_delivery_lag_seconds_count")).toBe(ended);
    expect(await joinedValue(joined, [living.asProcess], "tidewire_connections")).toBe(0);
  }
});

test("a worker that does not answer counts as when it last did", async () => {
  const joined = joinedMetrics();
  const { metrics, worker, asProcess } = fakeWorker();
  metrics.deliveries.inc(5);
  expect(await joinedValue(joined, [asProcess], "tidewire_deliveries_total")).toBe(5);
  metrics.deliveries.inc(5);
  worker.answers = false;
  expect(await joinedValue(joined, [asProcess], "tidewire_deliveries_total")).toBe(5);
});

test("the metrics of processes are joined: CPU time is the sum, and there is one build", async () => {
  const workers = [fakeWorker(), fakeWorker()].map(({ asProcess }) => asProcess);
  const joined = new JoinedMetrics(async () => Promise.all(processMetrics().map((metric) => metric.get())));
  const secondsIn = (text: string) => Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1]);
  const one = secondsIn(await createMetrics().registry.metrics());
  const text = await (await joined.registry(workers)).metrics();
  // Two workers and the primary, which are all this process.
  expect(one).toBeGreaterThan(0);
  expect(secondsIn(text)).toBeGreaterThanOrEqual(3 * one);
  expect(text.match(/^tidewire_build_info\{.*\} 1$/gm)).toHaveLength(1);
  expect(text).toMatch(/^nodejs_version_info\{.*\} 1$/m);
  expect(text).not.toContain("undefined");
});
