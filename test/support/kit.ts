/** Runs the scenarios of the protocol kit against a driver, each as a test. */
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, test } from "vitest";
import { DriverProcess } from "../../src/kit/driver.ts";
import { playScenario } from "../../src/kit/run.ts";
import { type ABILITIES, readScenarios } from "../../src/kit/scenario.ts";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { ROOT } from "./build.ts";
import { sharedMongod } from "./mongod.ts";
import { Random } from "./random.ts";

/** The folder of the kit's files. */
export const KIT = join(ROOT, "docs", "protocol-kit");

const PATIENCE_MS = 120_000;

const scenarios = await readScenarios(join(KIT, "scenarios"));

/**
 * Runs a share of the scenarios that a seed chooses, because each has a service of its own: a third for the client of this package,
 * which they are made with, and a sixth for another. `npm run soak` runs all.
 * @param without What the client cannot do: the list of scenarios that are left out is its documentation.
 */
export function runKitWith(
  driver: string,
  {
    without = [],
    isOurs = false,
  }: { without?: readonly (typeof ABILITIES)[number][]; isOurs?: boolean } = {},
): void {
  const possible = scenarios.filter(
    ({ needs }) => needs?.some((ability) => without.includes(ability)) !== true,
  );
  const share = FUZZ_FACTOR > 1 ? 1 : isOurs ? 1 / 3 : 1 / 6;
  const chosen = new Random(startSeed("kit")).sample(possible, Math.ceil(possible.length * share));
  describe("the scenarios of the kit", { concurrent: true, timeout: 2 * PATIENCE_MS }, () => {
    let client: MongoClient;
    let process: DriverProcess;
    beforeAll(async () => {
      client = await new MongoClient(sharedMongod()).connect();
      process = new DriverProcess(driver);
    });
    afterAll(async () => {
      await process.stop();
      await client.close();
    });
    for (const scenario of chosen)
      test(`step ${scenario.step}: ${scenario.name}`, () =>
        playScenario(scenario, {
          client,
          mongodbUri: sharedMongod(),
          driver: process,
          patienceMs: PATIENCE_MS,
        }));
  });
}
