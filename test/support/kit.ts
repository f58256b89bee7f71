/** Runs the scenarios of the protocol kit against a driver, each as a test. */
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { DriverProcess } from "../../src/kit/driver.ts";
import { playScenario } from "../../src/kit/run.ts";
import { type ABILITIES, readScenarios } from "../../src/kit/scenario.ts";
import { ROOT } from "./build.ts";

/** The folder of the kit's files. */
export const KIT = join(ROOT, "docs", "protocol-kit");

const PATIENCE_MS = 120_000;

const scenarios = await readScenarios(join(KIT, "scenarios"));

/** @param without What the client cannot do: the list of scenarios that are left out is its documentation. */
export function runKitWith(driver: string, without: readonly (typeof ABILITIES)[number][] = []): void {
  describe("the scenarios of the kit", { concurrent: true, timeout: 2 * PATIENCE_MS }, () => {
    let client: MongoClient;
    let process: DriverProcess;
    beforeAll(async () => {
      client = await new MongoClient(inject("mongodbUri")).connect();
      process = new DriverProcess(driver);
    });
    afterAll(async () => {
      await process.stop();
      await client.close();
    });
    for (const scenario of scenarios) {
      if (scenario.needs?.some((ability) => without.includes(ability))) continue;
      test(`step ${scenario.step}: ${scenario.name}`, () =>
        playScenario(scenario, {
          client,
          mongodbUri: inject("mongodbUri"),
          driver: process,
          patienceMs: PATIENCE_MS,
        }));
    }
  });
}
