/** config/systemd/tidewire.service, judged by systemd's own tools, and its command, run as the unit says. */
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { ROOT } from "../../support/build.ts";
import { endWithUs, exited } from "../../support/guard.ts";
import { isWithout } from "../../support/installed.ts";
import { testDatabase } from "../../support/mongod.ts";
import { SECRET, testConfig } from "../../support/service.ts";

const run = promisify(execFile);
const UNIT = join(ROOT, "config", "systemd", "tidewire.service");
const skipped = isWithout("systemd-analyze");
const unit = await readFile(UNIT, "utf8");
const setting = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1] ?? "";

test.skipIf(skipped)("systemd rates the exposure of the unit at 2.0 or less", async () => {
  const { stdout } = await run("systemd-analyze", ["security", "--offline=true", "--threshold=20", UNIT]);
  const [, level] = /Overall exposure level for tidewire\.service: ([\d.]+)/.exec(stdout) ?? [];
  expect(Number(level)).toBeLessThanOrEqual(2);
});

test.skipIf(skipped)("systemd finds no mistake in the unit", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-unit-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const copy = join(folder, "tidewire.service");
  // The tool also checks that the program exists.
  await writeFile(copy, unit.replace("ExecStart=/usr/bin/node ", `ExecStart=${process.execPath} `));
  const { stderr } = await run("systemd-analyze", ["verify", copy]);
  expect(stderr.split("\n").filter((line) => line.includes("tidewire.service"))).toEqual([]);
});

test("the unit gives the service longer to stop than it takes to drain", () => {
  const { drainTimeoutMs } = ServerOptions.parse({});
  expect(Number(/^(\d+)s$/.exec(setting("TimeoutStopSec"))?.[1]) * 1_000).toBeGreaterThan(drainTimeoutMs);
  expect(setting("KillSignal")).toBe("SIGTERM");
});

test("the unit's command reads its secrets from the credential, survives a reload, and ends in good order", async () => {
  const { name: database, uri } = await testDatabase();
  const folder = await mkdtemp(join(tmpdir(), "tidewire-unit-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = testConfig("${" + "MONGODB_URI}", database, {
    collections: { items: { rules: [{ name: "all" }] } },
  });
  const auth = { jwt: { algorithms: ["HS256"], secret: "${" + "TIDEWIRE_JWT_SECRET}" } };
  const config = { ...file, auth, log: { level: "info" } };
  await writeFile(join(folder, "tidewire.yaml"), JSON.stringify(config));
  await writeFile(join(folder, "tidewire.env"), `MONGODB_URI=${uri}\nTIDEWIRE_JWT_SECRET="${SECRET}"\n`);
  const [program, ...args] = setting("ExecStart")
    .replace("/usr/bin/node", process.execPath)
    .replace("%d", folder)
    .replace("/opt/tidewire/", ROOT.endsWith("/") ? ROOT : `${ROOT}/`)
    .replace("/etc/tidewire", folder)
    .split(" ");
  const child = spawn(program ?? "", args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  endWithUs(child);
  const lines: Record<string, unknown>[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)));
  const said = (pattern: RegExp) => lines.some(({ msg }) => pattern.test(String(msg)));
  await expect.poll(() => said(/^listening$/) || child.exitCode !== null).toBe(true);
  expect(child.exitCode).toBeNull();
  expect(JSON.stringify(lines)).not.toContain(SECRET);
  child.kill("SIGHUP");
  const { adminPort } = lines.find(({ msg }) => msg === "listening") ?? {};
  const isAlive = async () => (await fetch(`http://127.0.0.1:${String(adminPort)}/livez`)).ok;
  expect(await isAlive()).toBe(true);
  child.kill(setting("KillSignal") as NodeJS.Signals);
  expect(await exited(child)).toEqual({ code: 0, signal: null });
});
