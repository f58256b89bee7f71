/**
 * A client that is wrong fails the kit: the client of this package with one defect at a time. Without this a kit that passes every
 * client would go unnoticed.
 */
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DriverProcess } from "../../../src/kit/driver.ts";
import { playScenario } from "../../../src/kit/run.ts";
import { readScenarios, type Scenario } from "../../../src/kit/scenario.ts";
import { ROOT } from "../../support/build.ts";
import { KIT } from "../../support/kit.ts";
import { sharedMongod } from "../../support/mongod.ts";

interface Defect {
  readonly defect: string;
  readonly scenario: string;
  readonly fails: RegExp | undefined;
  readonly patienceMs?: number;
}

const { DEFECTS } = (await import(join(ROOT, "test/support/kit-defects.mjs"))) as {
  DEFECTS: readonly Defect[];
};
const scenarios = await readScenarios(join(KIT, "scenarios"));
const scenarioOf = ({ scenario }: Defect) => scenarios.filter(({ name }) => name === scenario);

/**
 * Many defects show when the client does not do something in time. A busy machine may make it late for an earlier step, or slow where
 * it should be too fast, so there are further attempts, with more time.
 */
const PATIENCE_MS = 3_000;
const PATIENCE_FACTORS = [1, 5, 20];

let mongo: MongoClient;
beforeAll(async () => {
  mongo = await new MongoClient(sharedMongod()).connect();
});
afterAll(() => mongo.close());

/** Plays a scenario against the client with a defect. @returns The report; undefined if the client passes. */
async function play(scenario: Scenario, { defect }: Defect, patienceMs: number): Promise<string | undefined> {
  const paths = [process.execPath, join(ROOT, "test/support/kit-driver.mjs"), defect];
  const driver = new DriverProcess(paths.map((path) => JSON.stringify(path)).join(" "));
  try {
    await playScenario(scenario, { client: mongo, mongodbUri: sharedMongod(), driver, patienceMs });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await driver.stop();
  }
}

/** One of these that began last would run alone. */
const longestFirst = [...DEFECTS].sort((a, b) => (b.patienceMs ?? 0) - (a.patienceMs ?? 0));

describe("the kit", { concurrent: true }, () => {
  for (const defect of longestFirst)
    test(`${defect.fails === undefined ? "passes" : "fails"} a client that ${defect.defect}`, async () => {
      const { fails, patienceMs = PATIENCE_MS } = defect;
      const [scenario] = scenarioOf(defect);
      if (scenario === undefined) throw new Error(`no scenario has the name ${defect.scenario}`);
      let report: string | undefined;
      for (const factor of PATIENCE_FACTORS) {
        report = await play(scenario, defect, factor * patienceMs);
        if (fails === undefined || fails.test(report ?? "")) break;
      }
      if (fails === undefined) expect(report).toBeUndefined();
      else expect(report).toMatch(fails);
      expect(report ?? "").not.toContain("the driver does not run");
    });
});

test("each step of docs/building-a-client.md has a scenario that a wrong client fails", () => {
  const verified = new Set(scenarios.map(({ step }) => step));
  const failed = new Set(
    DEFECTS.filter(({ fails }) => fails)
      .flatMap(scenarioOf)
      .map(({ step }) => step),
  );
  expect([...verified].filter((step) => !failed.has(step))).toEqual([]);
});
