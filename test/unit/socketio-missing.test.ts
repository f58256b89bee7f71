/** A service that is to serve Socket.IO, on a machine where the package is not installed. */
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { StartupError } from "../../src/source/startup-error.ts";
import { testConfig, toConfig } from "../support/service.ts";

vi.mock("socket.io", () => {
  throw Object.assign(new Error("Cannot find package 'socket.io'"), { code: "ERR_MODULE_NOT_FOUND" });
});

const collections = { items: { rules: [{ name: "everybody" }] } };
/** Nobody listens there: what comes first is that the package is missing. */
const URI = "mongodb://127.0.0.1:1/";

test("says what to install, before anything is connected to", async () => {
  const { startService } = await import("../../src/server.ts");
  const config = toConfig(testConfig(URI, "shop", { collections, server: { socketio: true } }));
  const starting = startService(config, pino({ level: "silent" }));
  await expect(starting).rejects.toBeInstanceOf(StartupError);
  await expect(starting).rejects.toThrow(/npm install socket\.io@4/);
});
