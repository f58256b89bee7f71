/** The one-time URL of `tidewire start`: a person at a terminal sees it, a log never holds it. */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { configFile } from "../../support/command.ts";
import { endWithUs, exited } from "../../support/guard.ts";
import { testDatabase, until } from "../../support/mongod.ts";
import { testConfig } from "../../support/service.ts";
import { spawnService } from "../../support/spawn-service.ts";

const COLLECTIONS = { items: { rules: [{ name: "all" }] } };
const HAS_SCRIPT = spawnSync("script", ["--version"]).status === 0;
const LOGIN_URL = /http:\/\/127\.0\.0\.1:\d+\/login\?token=[\w-]{43}/;

test.skipIf(!HAS_SCRIPT)("on a terminal, the URL is printed and logs in once", async () => {
  const { uri, name } = await testDatabase();
  const file = await configFile(testConfig(uri, name, { collections: COLLECTIONS }));
  const command = `echo "pid $$"; exec ${process.execPath} ${join(ROOT, "dist/cli/main.js")} start --config ${file}`;
  // `script` gives the command a terminal.
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    stdio: ["pipe", "pipe", "ignore"],
    detached: true,
  });
  endWithUs(child, file);
  let output = "";
  child.stdout.on("data", (part) => {
    output += String(part);
  });
  onTestFinished(async () => {
    // The service leads a session of its own, and takes the end of its terminal for a request to reload.
    const [, pid] = /pid (\d+)/.exec(output) ?? [];
    process.kill(Number(pid), "SIGKILL");
    await exited(child);
  });
  await until("the URL", async () => LOGIN_URL.test(output));
  const [url = ""] = LOGIN_URL.exec(output) ?? [];
  expect((await fetch(url, { redirect: "manual" })).status).toBe(303);
  expect((await fetch(url, { redirect: "manual" })).status).toBe(401);
});

test("without a terminal nothing is printed, because a log is no place for a credential", async () => {
  const { uri, name } = await testDatabase();
  const config = testConfig(uri, name, { collections: COLLECTIONS }) as { mongodb: Record<string, unknown> };
  const service = await spawnService({ config: { ...config, log: { level: "info" } } });
  expect(service.log.join("\n")).toContain('"listening"');
  expect(service.log.join("\n")).not.toMatch(LOGIN_URL);
});
