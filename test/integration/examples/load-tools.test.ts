/** The load scenario of examples/load in the tools of other makers, against the service. */
import { type ExecFileException, execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { parse } from "yaml";
import { compileScenario } from "../../../src/cli/load/scenario.ts";
import { Writers } from "../../../src/cli/load/writers.ts";
import { ROOT } from "../../support/build.ts";
import { installed, skipWithout } from "../../support/installed.ts";
import { startMessageProxy, type Tamper } from "../../support/message-proxy.ts";
import { SECRET, startTestService } from "../../support/service.ts";

const EXAMPLES = join(ROOT, "examples", "load");
const COLLECTIONS = { orders: { rules: [{ name: "customer", filter: { customer: "%%user.sub" } }] } };

/** The service behind a proxy, and the writers of `tidewire load`. @returns The settings of the tools. */
async function start(tamper: Tamper = (message) => [message]) {
  const { service, uri, name: database } = await startTestService({ collections: COLLECTIONS });
  const TIDEWIRE_URL = await startMessageProxy(`ws://127.0.0.1:${service.address.port}`, tamper);
  const scenario = parse(await readFile(join(EXAMPLES, "scenario.yaml"), "utf8"));
  const writers = await Writers.open({
    uri,
    database,
    collection: "orders",
    writers: 1,
    rate: 200,
    run: "examples",
    // Without the defaults of the schema, which are not used here.
    scenario: compileScenario({ ...scenario, documents: 10 }),
  });
  onTestFinished(async () => void (await writers.close(true)));
  onTestFinished(async () => void (await writers.stop()));
  writers.start((error) => {
    throw error;
  });
  return { TIDEWIRE_URL, TIDEWIRE_JWT_SECRET: SECRET, USERS: "4", SECONDS: "3", P99_MS: "30000" };
}

interface Ended {
  readonly code: number;
  readonly output: string;
}

function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd = ROOT,
): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, cwd, timeout: 200_000, maxBuffer: 2 ** 24 };
    execFile(command, args, options, (error: ExecFileException | null, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: `${stdout}${stderr}` }),
    );
  });
}

/** Removes the second change of each user. Without it, the third one shows a gap. */
const losing = (): Tamper => {
  const changes = new Map<number, number>();
  return (message, connection) => {
    if (JSON.parse(message).type !== "changed") return [message];
    const count = (changes.get(connection) ?? 0) + 1;
    changes.set(connection, count);
    return count === 2 ? [] : [message];
  };
};

const repeating: Tamper = (message) =>
  JSON.parse(message).type === "changed" ? [message, message] : [message];

test.each<[string, () => Tamper | undefined, readonly string[]]>([
  ["passes", () => undefined, []],
  ["fails if a change is lost", losing, ["tidewire_lost"]],
  ["fails if changes are repeated", () => repeating, ["tidewire_repeated"]],
])("the script for k6, with stand-ins for the modules of k6, %s", async (_title, tamper, crossed) => {
  const env = await start(tamper());
  const args = [join(ROOT, "test/support/k6-stand-in.mjs"), join(EXAMPLES, "k6/tidewire.js")];
  const { code, output } = await run(process.execPath, args, env);
  const result = JSON.parse(output.split("\n").find((line) => line.startsWith("{")) ?? output);
  expect(result.crossed).toEqual(crossed);
  expect(result.counts).toMatchObject({
    tidewire_users_ready: 4,
    tidewire_refused: 0,
    tidewire_lost: crossed.includes("tidewire_lost") ? 4 : 0,
  });
  expect(result.counts.tidewire_deliveries).toBeGreaterThan(100);
  expect(code).toBe(crossed.length === 0 ? 0 : 99);
});

test("the script for k6 fails with another secret", async () => {
  const env = { ...(await start()), TIDEWIRE_JWT_SECRET: "another secret of at least 32 bytes" };
  const args = [join(ROOT, "test/support/k6-stand-in.mjs"), join(EXAMPLES, "k6/tidewire.js")];
  const { code, output } = await run(process.execPath, args, env);
  expect(output).toContain("unauthenticated");
  expect(code).toBe(99);
});

// k6 has the licence AGPL-3.0 and is not installed by `.ci/run`, so that this test is skipped in CI as well.
test.skipIf(installed("k6") === undefined)(
  "the script for k6 runs in k6, where that is installed",
  async () => {
    const env = await start();
    const { code, output } = await run(installed("k6") ?? "", ["run", join(EXAMPLES, "k6/tidewire.js")], env);
    expect(output).toContain("tidewire_delivery");
    expect(code).toBe(0);
  },
);

/** A project of Maven in a folder of its own, so that its `target` is not in the repository. */
async function mavenProject(name: keyof typeof MAVEN, skip: TestContext["skip"]) {
  if (installed("mvn") === undefined) skipWithout(skip, "no mvn");
  const folder = join(await mkdtemp(join(tmpdir(), `tidewire-${name}-`)), name);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await cp(join(EXAMPLES, name), folder, { recursive: true });
  return folder;
}

const MAVEN = {
  gatling: ["--quiet", "--batch-mode", "compile", "exec:exec"],
  jmeter: ["--quiet", "--batch-mode", "process-resources", "exec:exec"],
};

const CASES = [
  ["gatling", "passes", undefined],
  ["gatling", "fails if a change is lost", losing],
  ["jmeter", "passes", undefined],
  ["jmeter", "fails if a change is lost", losing],
] as const;

test.for(CASES)("the scenario for %s %s", async ([name, _title, tamper], { skip }) => {
  const folder = await mavenProject(name, skip);
  const env = await start(tamper?.());
  const { code, output } = await run("mvn", MAVEN[name], env, folder);
  if (/Could not (?:transfer|resolve)/.test(output)) skipWithout(skip, "Maven cannot fetch the packages");
  const result =
    tamper === undefined ? /delivery: \d{3,}, p50 \d+ ms, .*0 lost, 0 repeated/ : /4 lost, 0 repeated/;
  expect(output).toMatch(result);
  expect(code === 0, output).toBe(tamper === undefined);
});
