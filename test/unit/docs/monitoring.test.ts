/** The files of config/prometheus and config/grafana agree with the registry and with docs/operations.md. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ROOT } from "../../support/build.ts";

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

const read = (...path: string[]) => readFileSync(join(ROOT, ...path), "utf8");
const rulesOf = (file: string): Rule[] =>
  // The files are this package's own; promtool checks their form.
  (parse(read("config", "prometheus", file)) as Rules).groups.flatMap(({ rules }) => rules);

const alerts = rulesOf("alerts.yml");
const recorded = new Set(rulesOf("rules.yml").map(({ record }) => record ?? ""));
const metrics = createMetrics();

/** The names of metrics in a text of PromQL, without the suffixes of a histogram. */
function metricsIn(text: string): { metrics: string[]; recorded: string[] } {
  const names = Array.from(
    text.matchAll(/(?<![\w:])(?:job:)?(?:tidewire|nodejs|process)_\w+(?::\w+)?/g),
    ([name]) => name,
  );
  return {
    metrics: names
      .filter((name) => !name.startsWith("job:"))
      .map((name) => name.replace(/_(?:bucket|count|sum)$/, "")),
    recorded: names.filter((name) => name.startsWith("job:")),
  };
}

test.each([
  "prometheus/rules.yml",
  "prometheus/alerts.yml",
  "prometheus/alerts.test.yml",
  "grafana/tidewire.json",
])("config/%s names only metrics that the service has, and records that rules.yml makes", (file) => {
  const named = metricsIn(read("config", file));
  expect(named.metrics.length).toBeGreaterThan(5);
  for (const name of named.metrics) expect(metrics.registry.getSingleMetric(name), name).toBeDefined();
  for (const name of named.recorded) expect(recorded, name).toContain(name);
});

test("every alert has a severity, its texts, and a paragraph of docs/operations.md that says what to do", () => {
  const page = read("docs", "operations.md");
  const paragraphs = new Map(
    Array.from(page.matchAll(/^### (Tidewire\w+)\n\n(.+)/gm), ([, name = "", text = ""]) => [name, text]),
  );
  for (const { alert = "", labels, annotations } of alerts) {
    expect(["critical", "warning"], alert).toContain(labels?.["severity"]);
    expect(annotations?.["summary"]?.length, alert).toBeGreaterThan(10);
    expect(annotations?.["description"]?.length, alert).toBeGreaterThan(40);
    expect(annotations?.["runbook_url"]).toBe(`docs/operations.md#${alert.toLowerCase()}`);
    expect(paragraphs.get(alert)?.length, alert).toBeGreaterThan(40);
  }
  expect([...paragraphs.keys()].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
});

test("every alert has a case in which it fires and one in which it does not", () => {
  const cases = read("config", "prometheus", "alerts.test.yml");
  for (const { alert } of alerts)
    for (const outcome of ["fires", "rests"]) expect(cases).toContain(`name: ${alert} ${outcome}\n`);
});

test("every panel of the dashboard has a title, a unit, a place of its own, and the data source that is selected", () => {
  // Only what is checked below is read.
  const dashboard = JSON.parse(read("config", "grafana", "tidewire.json")) as {
    readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
    readonly panels: readonly {
      readonly id: number;
      readonly type: string;
      readonly title: string;
      readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
      readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
      readonly targets?: readonly { readonly datasource: { readonly uid: string } }[];
    }[];
  };
  expect(dashboard.templating.list).toContainEqual(
    expect.objectContaining({ name: "datasource", type: "datasource" }),
  );
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  const places = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
    expect(x + w).toBeLessThanOrEqual(24);
    return Array.from({ length: w * h }, (_, n) => `${x + (n % w)}:${y + Math.floor(n / w)}`);
  });
  expect(new Set(places).size).toBe(places.length);
  for (const { type, title, fieldConfig, targets = [] } of panels.filter(({ type }) => type !== "row")) {
    expect(type, title).toBe("timeseries");
    expect(fieldConfig?.defaults.unit.length, title).toBeGreaterThan(0);
    expect(targets.length, title).toBeGreaterThan(0);
    for (const { datasource } of targets) expect(datasource.uid, title).toMatch(/^\$\{datasource\}$/);
  }
});
