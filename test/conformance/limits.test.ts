import { runScenarios } from "./run-scenarios.ts";
import { LIMITS } from "./scenarios/limits.ts";
import { wsDriver } from "./ws-driver.ts";

for (const driver of [wsDriver]) {
  for (const { title, options, scenarios } of LIMITS) runScenarios(title, driver, scenarios, options);
}
