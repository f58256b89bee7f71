import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ROOT } from "../../support/build.ts";

test("each registry holds the metrics of the process and of Node, of which there is one set", async () => {
  const registries = [createMetrics(), createMetrics()].map(({ registry }) => registry);
  const observed = process.listenerCount("exit");
  for (const registry of registries) {
    const text = await registry.metrics();
    for (const name of [
      "process_cpu_seconds_total",
      "process_resident_memory_bytes",
      "process_start_time_seconds",
      "nodejs_eventloop_lag_p99_seconds",
      "nodejs_heap_size_used_bytes",
    ]) {
      expect(text).toMatch(new RegExp(`^${name} [\\d.e+-]+$`, "m"));
    }
  }
  const [first, second] = registries;
  expect(first?.getSingleMetric("process_cpu_seconds_total")).toBe(
    second?.getSingleMetric("process_cpu_seconds_total"),
  );
  expect(process.listenerCount("exit")).toBe(observed);
});

test("tidewire_build_info is 1 and names the versions of the package and of Node", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(await createMetrics().registry.metrics()).toContain(
    `tidewire_build_info{version="${version}",node="${process.versions.node}"} 1\n`,
  );
});
