import { pollDriver, sseDriver } from "./http-drivers.ts";
import { runScenarios } from "./run-scenarios.ts";
import { AGGREGATES } from "./scenarios/aggregates.ts";
import { PLACES } from "./scenarios/places.ts";
import { RIGHTS } from "./scenarios/rights.ts";
import { STARTS } from "./scenarios/starts.ts";
import { socketIoDriver } from "./socketio-driver.ts";
import { wsDriver } from "./ws-driver.ts";

/** Every transport that there is; each has to pass the same table. */
for (const driver of [wsDriver, sseDriver, pollDriver, socketIoDriver]) {
  runScenarios("how a subscription starts", driver, STARTS);
  runScenarios("who sees what", driver, RIGHTS);
  runScenarios("counts and groups", driver, AGGREGATES);
  runScenarios("places to come back to", driver, PLACES, { history: { bytes: "1MiB" } });
}

/** The clients of these offer compression by themselves. */
for (const driver of [wsDriver, pollDriver, socketIoDriver]) {
  const server = { ...driver.options?.server, compression: "shared", compressionMinBytes: "64B" };
  runScenarios("how a subscription starts, compressed,", driver, STARTS, { server });
}
