/** The client for Python passes the same table as the transports. Its own model of the changes is compared as well. */
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { ROOT } from "../support/build.ts";
import { skipWithout } from "../support/installed.ts";
import { pythonEnv, pythonWith } from "../support/python.ts";
import { ProgramClients } from "./program-driver.ts";
import { runScenarios } from "./run-scenarios.ts";
import { AGGREGATES } from "./scenarios/aggregates.ts";
import { PLACES } from "./scenarios/places.ts";
import { RIGHTS } from "./scenarios/rights.ts";
import { STARTS } from "./scenarios/starts.ts";

const DRIVER = join(ROOT, "test", "support", "python-client.py");
const found = await pythonWith("websockets>=15");

if ("missing" in found)
  test("the client for Python passes the table", ({ skip }) => skipWithout(skip, found.missing));
else {
  const clients = new ProgramClients("python", found.python, [DRIVER], pythonEnv());
  afterAll(() => clients.stop());
  runScenarios("how a subscription starts", clients.driver, STARTS);
  runScenarios("who sees what", clients.driver, RIGHTS);
  runScenarios("counts and groups", clients.driver, AGGREGATES);
  runScenarios("places to come back to", clients.driver, PLACES, { history: { bytes: "1MiB" } });
  const server = { compression: "shared", compressionMinBytes: "64B" };
  runScenarios("how a subscription starts, compressed,", clients.driver, STARTS, { server });
}
