/** The files of config/prometheus agree with the registry and with docs/operations.md. */
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

test.each(["rules.yml", "alerts.yml", "alerts.test.yml"])(
  "%s names only metrics that the service has, and records that rules.yml makes",
  (file) => {
    const named = metricsIn(read("config", "prometheus", file));
    expect(named.metrics.length).toBeGreaterThan(5);
    for (const name of named.metrics) expect(metrics.registry.getSingleMetric(name), name).toBeDefined();
    for (const name of named.recorded) expect(recorded, name).toContain(name);
  },
);

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
