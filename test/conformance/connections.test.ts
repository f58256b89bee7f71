import { pollDriver, sseDriver } from "./http-drivers.ts";
import { runScenarios } from "./run-scenarios.ts";
import { ANONYMOUS, CONNECTIONS, IMPATIENT } from "./scenarios/connections.ts";
import { wsDriver } from "./ws-driver.ts";

for (const driver of [wsDriver, sseDriver, pollDriver]) {
  runScenarios("a connection", driver, CONNECTIONS);
  runScenarios("a connection's clocks", driver, IMPATIENT, {
    // Service and clients share a process, which shares its machine: shorter, and it would be too slow for itself.
    server: { heartbeat: "1s", pongTimeout: "3s" },
    limits: { fenceTimeout: "5s" },
    auth: { helloTimeout: "3s" },
  });
  runScenarios("nobody in particular", driver, ANONYMOUS, { auth: { anonymous: true } });
}
