/** The client of examples/go passes the same table as the transports. */
import { afterAll, test } from "vitest";
import { goProgram } from "../support/go.ts";
import { skipWithout } from "../support/installed.ts";
import { ProgramClients } from "./program-driver.ts";
import { runScenarios } from "./run-scenarios.ts";
import { AGGREGATES } from "./scenarios/aggregates.ts";
import { PLACES } from "./scenarios/places.ts";
import { RIGHTS } from "./scenarios/rights.ts";
import { STARTS } from "./scenarios/starts.ts";

const found = await goProgram("examples/go", "driver");

if ("missing" in found)
  test("the client of examples/go passes the table", ({ skip }) => skipWithout(skip, found.missing));
else {
  const clients = new ProgramClients("go", found.program);
  afterAll(() => clients.stop());
  runScenarios("how a subscription starts", clients.driver, STARTS);
  runScenarios("who sees what", clients.driver, RIGHTS);
  runScenarios("counts and groups", clients.driver, AGGREGATES);
  runScenarios("places to come back to", clients.driver, PLACES, { history: { bytes: "1MiB" } });
}
