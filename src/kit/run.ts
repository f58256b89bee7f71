/** Runs the scenarios of the kit against somebody's client. */
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { Deployment } from "./deployment.ts";
import { DriverProcess } from "./driver.ts";
import { Play } from "./play.ts";
import { type ABILITIES, readScenarios, type Scenario } from "./scenario.ts";

/** The folder of the kit in the package. */
export const KIT = fileURLToPath(new URL("../../docs/protocol-kit", import.meta.url));

export interface KitOptions {
  /** The command line that starts the driver. */
  readonly driver: string;
  /** Abilities that the client lacks. Scenarios that need one of them are left out. */
  readonly without: ReadonlySet<(typeof ABILITIES)[number]>;
  /** Only scenarios whose names contain this. */
  readonly only: string | undefined;
  /** How long a client may take for each step, in milliseconds. */
  readonly patienceMs: number;
  readonly concurrency: number;
  readonly mongodbUri: string;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  /** Why it was left out, or what the client did wrong. */
  readonly outcome: "passed" | { readonly skipped: string } | { readonly failed: string };
  readonly tookMs: number;
}

/** @param report Receives each result when it is known. */
export async function runKit(options: KitOptions, report: (result: ScenarioResult) => void): Promise<void> {
  const { only, concurrency, mongodbUri } = options;
  const all = await readScenarios(`${KIT}/scenarios`);
  const wanted = all.filter(({ name }) => only === undefined || name.includes(only));
  const client = await new MongoClient(mongodbUri).connect();
  const driver = new DriverProcess(options.driver);
  try {
    const waiting = wanted.values();
    // Each runs the next scenario until none is left.
    const run = async () => {
      for (const scenario of waiting) report(await judge(scenario, options, client, driver));
    };
    await Promise.all(Array.from({ length: concurrency }, run));
  } finally {
    await driver.stop();
    await client.close();
  }
}

async function judge(
  scenario: Scenario,
  { without, patienceMs, mongodbUri }: KitOptions,
  client: MongoClient,
  driver: DriverProcess,
): Promise<ScenarioResult> {
  const missing = scenario.needs?.find((ability) => without.has(ability));
  if (missing !== undefined) return { scenario, outcome: { skipped: missing }, tookMs: 0 };
  const startedAtMs = Date.now();
  let outcome: ScenarioResult["outcome"] = "passed";
  try {
    await playScenario(scenario, { client, mongodbUri, driver, patienceMs });
  } catch (error) {
    outcome = { failed: error instanceof Error ? error.message : String(error) };
  }
  return { scenario, outcome, tookMs: Date.now() - startedAtMs };
}

/**
 * Plays one scenario with a service and a client of its own.
 * @throws {Error} The client does something else than the scenario says.
 */
export async function playScenario(
  scenario: Scenario,
  {
    client,
    mongodbUri,
    driver,
    patienceMs,
  }: Pick<KitOptions, "mongodbUri" | "patienceMs"> & {
    readonly client: MongoClient;
    readonly driver: DriverProcess;
  },
): Promise<void> {
  const deployment = await Deployment.start(client, mongodbUri, scenario.service ?? {});
  const play = new Play(scenario, deployment, driver, patienceMs);
  try {
    await play.run();
  } finally {
    play.stop();
    await deployment.stop();
  }
}
