/** A service that is to serve gRPC, on a machine where its packages are not installed. */
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { StartupError } from "../../src/source/startup-error.ts";
import { testConfig, toConfig } from "../support/service.ts";

vi.mock("@connectrpc/connect-node", () => {
  const message = "Cannot find package '@connectrpc/connect-node'";
  throw Object.assign(new Error(message), { code: "ERR_MODULE_NOT_FOUND" });
});

const collections = { items: { rules: [{ name: "everybody" }] } };
/** Nobody listens there, so an attempt to connect would fail with another error. */
const URI = "mongodb://127.0.0.1:1/";

test("says what to install, before anything is connected to", async () => {
  const { startService } = await import("../../src/server.ts");
  const config = toConfig(testConfig(URI, "shop", { collections, server: { grpc: { port: 0 } } }));
  const starting = startService(config, pino({ level: "silent" }));
  await expect(starting).rejects.toBeInstanceOf(StartupError);
  await expect(starting).rejects.toThrow(/npm install @connectrpc\/connect@2 @connectrpc\/connect-node@2/);
});
