import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { troublesOf } from "../../../src/admin/troubles.ts";
import type { ReportedStatus } from "../../../src/source/node-status-store.ts";
import { ROOT } from "../../support/build.ts";

const node = (name: string, more: Partial<ReportedStatus> = {}): ReportedStatus => ({
  node: name,
  id: name,
  version: "1",
  startedAtMs: 0,
  ready: true,
  status: "ready",
  headAgeMs: 0,
  rulesGeneration: 1,
  lastReload: "none",
  connections: 0,
  subscriptions: 0,
  liveQueries: 0,
  ageMs: 0,
  ...more,
});

test("a fleet without trouble has none", () => {
  expect(troublesOf([node("a"), node("b", { ageMs: 30_000 })])).toEqual([]);
});

test("each condition names its nodes, and the gravest comes first", () => {
  const troubles = troublesOf([
    node("a", { lastReload: "rejected" }),
    node("b", { ready: false, status: "mongodb-unreachable" }),
    node("c", { ready: false, status: "mongodb-unreachable", version: "2" }),
    node("d", { ageMs: 30_001, version: "3" }),
    node("e", { ready: false, status: "a status of a later version" }),
  ]);
  expect(troubles.map(({ severity, nodes }) => [severity, nodes])).toEqual([
    ["error", ["b", "c"]],
    ["error", ["d"]],
    ["error", ["e"]],
    ["warning", ["a"]],
    ["warning", ["a", "b", "c", "e"]],
  ]);
});

test("every status of /readyz but ready has a remedy, and every link leads to a section of the page", () => {
  const page = readFileSync(join(ROOT, "docs", "operations.md"), "utf8");
  const anchors = Array.from(page.matchAll(/^#+ (.+)$/gm), ([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w -]/g, "")
      .replaceAll(" ", "-"),
  );
  const health = page.slice(page.indexOf("## Health"), page.indexOf("## Symptoms"));
  const statuses = Array.from(health.matchAll(/^\| `([\w-]+)`/gm), ([, status = ""]) => status);
  expect(statuses.length).toBeGreaterThan(5);
  for (const status of statuses.filter((one) => one !== "ready")) {
    const [trouble] = troublesOf([node("a", { ready: false, status })]);
    expect(trouble?.remedy, status).toMatch(/\S/);
    const [file, anchor = ""] = (trouble?.link ?? "").split("#");
    expect(file).toBe("operations.md");
    expect(anchors, status).toContain(anchor);
  }
});
