/** docs/operations.md and the registry are equal, both ways; what it says of health is what there is. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ROOT } from "../../support/build.ts";

const page = readFileSync(join(ROOT, "docs", "operations.md"), "utf8");
const metrics = createMetrics();

test("the table holds every metric with its type, in the registry's order, and no other", async () => {
  const rows = Array.from(page.matchAll(/^\| `(tidewire_\w+)` \| (\w+) \|/gm), ([, name, type]) => [
    name,
    type,
  ]);
  const all = await metrics.registry.getMetricsAsJSON();
  const registered = all.filter(({ name }) => !/^(?:process|nodejs)_/.test(name));
  expect(rows).toEqual(registered.map(({ name, type }) => [name, String(type)]));
});

test("the symptoms name only metrics that there are, with labels that they have", async () => {
  const text = await metrics.registry.metrics();
  const registered = new Map(
    (await metrics.registry.getMetricsAsJSON()).map(({ name }) => [
      name,
      metrics.registry.getSingleMetric(name),
    ]),
  );
  for (const [, name = "", label] of page.matchAll(/`(tidewire_\w+)(?:\{(\w+)=[^}]*\})?`/g)) {
    expect(text, name).toContain(`# HELP ${name} `);
    if (label === undefined) continue;
    // The library keeps the names of a metric's labels here, and does not say so in its types.
    const { labelNames } = registered.get(name) as unknown as { labelNames: readonly string[] };
    expect(labelNames, name).toContain(label);
  }
});

test("the table of health holds every status that /readyz may answer", () => {
  const source = readFileSync(join(ROOT, "src", "admin", "readiness.ts"), "utf8");
  const [, union = ""] = /readonly status:\s([^;]+);/.exec(source) ?? [];
  const statuses = Array.from(union.matchAll(/"([\w-]+)"/g), ([, status]) => status).sort();
  const health = page.slice(page.indexOf("## Health"), page.indexOf("## Symptoms"));
  const rows = Array.from(health.matchAll(/^\| `([\w-]+)` \|/gm), ([, status]) => status);
  expect(rows.sort()).toEqual(statuses.sort());
});

test("every metric is counted somewhere", () => {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const code = files
    .filter((file) => file.endsWith(".ts") && !file.startsWith("metrics"))
    .map((file) => readFileSync(join(ROOT, "src", file), "utf8"))
    .join("\n");
  const { registry: _, onScrape: _lazily, changesBy: _changes, changeEventsBy: _events, ...all } = metrics;
  // Those that are counted for every change are found by label beforehand, under a name of that kind.
  const idle = Object.keys(all).filter((key) => !new RegExp(`\\b${key}(By)?\\b`).test(code));
  expect(idle).toEqual([]);
});
