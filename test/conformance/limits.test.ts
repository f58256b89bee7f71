import { pollDriver, sseDriver } from "./http-drivers.ts";
import { runScenarios } from "./run-scenarios.ts";
import { LIMITS } from "./scenarios/limits.ts";
import { wsDriver } from "./ws-driver.ts";

for (const driver of [wsDriver, sseDriver, pollDriver]) {
  for (const { title, options, scenarios } of LIMITS) runScenarios(title, driver, scenarios, options);
}
