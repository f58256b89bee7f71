import { runScenarios } from "./run-scenarios.ts";
import { ANONYMOUS, CONNECTIONS, IMPATIENT } from "./scenarios/connections.ts";
import { wsDriver } from "./ws-driver.ts";

for (const driver of [wsDriver]) {
  runScenarios("a connection", driver, CONNECTIONS);
  runScenarios("a connection's clocks", driver, IMPATIENT, {
    server: { heartbeat: "1s", pongTimeout: "200ms" },
    limits: { fenceTimeout: "3s" },
    auth: { helloTimeout: "500ms" },
  });
  runScenarios("nobody in particular", driver, ANONYMOUS, { auth: { anonymous: true } });
}
