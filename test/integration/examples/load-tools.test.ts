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
  const {
    service,
    uri,
    name: database,
  } = await startTestService({
    collections: COLLECTIONS,
    // Without a history, a slow machine resets users while the writers write, and a reset hides the gap of a lost change.
    history: { window: "5m" },
  });
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
  // At 20 writes per second to the document of each user, so that all of them receive the three that show a loss.
  return { TIDEWIRE_URL, TIDEWIRE_JWT_SECRET: SECRET, USERS: "4", SECONDS: "5", P99_MS: "30000" };
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

/** The metrics of k6 that the tests read. A threshold is `true` if it was crossed. */
interface K6Summary {
  readonly metrics: Readonly<
    Record<string, { readonly count?: number; readonly thresholds?: Readonly<Record<string, boolean>> }>
  >;
}

/** Runs the script in k6. @returns What has ended, the names of the metrics whose thresholds were crossed, and all counts. */
async function runK6(env: Readonly<Record<string, string>>, skip: TestContext["skip"]) {
  const program = installed("k6") ?? skipWithout(skip, "no k6");
  const folder = await mkdtemp(join(tmpdir(), "tidewire-k6-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "summary.json");
  const args = ["run", "--no-usage-report", "--summary-export", file, join(EXAMPLES, "k6/tidewire.js")];
  const ended = await run(program, args, env);
  const { metrics }: K6Summary = JSON.parse(await readFile(file, "utf8"));
  const crossed = Object.entries(metrics)
    .filter(([, { thresholds = {} }]) => Object.values(thresholds).includes(true))
    .map(([name]) => name);
  return { ...ended, crossed, countOf: (name: string) => metrics[name]?.count ?? 0 };
}

test.for<[string, () => Tamper | undefined, readonly string[]]>([
  ["passes", () => undefined, []],
  ["fails if a change is lost", losing, ["tidewire_lost"]],
  ["fails if changes are repeated", () => repeating, ["tidewire_repeated"]],
])("the script for k6 %s", async ([_title, tamper, crossed], { skip }) => {
  const ended = await runK6(await start(tamper()), skip);
  expect(ended.crossed, ended.output).toEqual(crossed);
  expect(ended.code).toBe(crossed.length === 0 ? 0 : 99);
  expect(ended.countOf("tidewire_users_ready")).toBe(4);
  expect(ended.countOf("tidewire_lost")).toBe(crossed.includes("tidewire_lost") ? 4 : 0);
  expect(ended.countOf("tidewire_deliveries")).toBeGreaterThan(100);
});

test("the script for k6 fails with another secret", async ({ skip }) => {
  const env = { ...(await start()), TIDEWIRE_JWT_SECRET: "another secret of at least 32 bytes" };
  const { code, output } = await runK6(env, skip);
  expect(output).toContain("unauthenticated");
  expect(code).toBe(99);
});

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
    tamper === undefined ? /delivery: \d{3,}, p50 \d+ ms, .*\b0 lost, 0 repeated/ : /\b4 lost, 0 repeated/;
  expect(output).toMatch(result);
  expect(code === 0, output).toBe(tamper === undefined);
});
