/** A client of gRPC in another language, generated from the published .proto, passes the same table as the transports. */
import { afterAll, test } from "vitest";
import { grpcPython } from "../support/grpc-stubs.ts";
import { skipWithout } from "../support/installed.ts";
import { GrpcClients } from "./grpc-driver.ts";
import { runScenarios } from "./run-scenarios.ts";
import { AGGREGATES } from "./scenarios/aggregates.ts";
import { PLACES } from "./scenarios/places.ts";
import { RIGHTS } from "./scenarios/rights.ts";
import { STARTS } from "./scenarios/starts.ts";

const found = await grpcPython();

if ("missing" in found)
  test("a client of gRPC passes the table", ({ skip }) => skipWithout(skip, found.missing));
else {
  const clients = new GrpcClients(found.python, found.stubs);
  afterAll(() => clients.stop());
  runScenarios("how a subscription starts", clients.driver, STARTS);
  runScenarios("who sees what", clients.driver, RIGHTS);
  runScenarios("counts and groups", clients.driver, AGGREGATES);
  runScenarios("places to come back to", clients.driver, PLACES, { history: { bytes: "1MiB" } });
}
