/** The rules and alerts of config/prometheus, judged by Prometheus' own tool. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { ROOT } from "../../support/build.ts";
import { installed, isWithout } from "../../support/installed.ts";

const run = promisify(execFile);
const skipped = isWithout("promtool");
const FOLDER = join(ROOT, "config", "prometheus");

const promtool = (cwd: string, ...args: string[]) =>
  run(installed("promtool") ?? "promtool", args, { cwd }).then(
    ({ stdout }) => ({ ok: true, said: stdout }),
    ({ stdout, stderr }) => ({ ok: false, said: `${stdout}${stderr}` }),
  );

test.skipIf(skipped)("promtool accepts the rules, and every case of the alerts holds", async () => {
  expect(await promtool(FOLDER, "check", "rules", "rules.yml", "alerts.yml")).toMatchObject({ ok: true });
  expect(await promtool(FOLDER, "test", "rules", "alerts.test.yml")).toMatchObject({ ok: true });
});

test.skipIf(skipped)("without its expression, each alert fails a case of its own", async () => {
  const copy = await mkdtemp(join(tmpdir(), "tidewire-alerts-"));
  onTestFinished(() => rm(copy, { recursive: true, force: true }));
  await cp(FOLDER, copy, { recursive: true });
  const text = await readFile(join(FOLDER, "alerts.yml"), "utf8");
  const { groups } = parse(text) as { groups: { rules: { alert: string; expr: string }[] }[] }; // checked above
  const alerts = groups.flatMap(({ rules }) => rules);
  for (const rule of alerts) rule.expr = "vector(0) > 1";
  await writeFile(join(copy, "alerts.yml"), JSON.stringify({ groups }));
  const { ok, said } = await promtool(copy, "test", "rules", "alerts.test.yml");
  expect(ok).toBe(false);
  for (const { alert } of alerts) expect(said).toContain(`alertname=\\"${alert}\\"`);
});
