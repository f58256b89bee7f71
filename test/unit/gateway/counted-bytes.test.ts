/** Queued data of a client is counted in bytes over every transport: a UTF-16 unit takes up to three bytes. */
import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import type { GatewayContext } from "../../../src/gateway/context.ts";
import { SocketIoSession } from "../../../src/gateway/socketio/socketio-session.ts";
import { openExchange } from "../../support/exchange.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { DEFAULT_LIMITS } from "../../support/parse-text.ts";

const EURO_BYTES = 3;

test("data that waits in an answer over HTTP is counted in bytes", async () => {
  const { exchange } = await openExchange();
  exchange.begin({ "Content-Type": "text/plain" });
  // Far more than the system takes at once.
  const bytes = 30_000_000;
  exchange.write("€".repeat(bytes / EURO_BYTES));
  expect(exchange.bufferedBytes).toBeGreaterThan(bytes / 2);
  exchange.destroy();
});

test("data that waits in a session of Socket.IO is counted in bytes, for an own packet and for a shared one", () => {
  const transport = Object.assign(new EventEmitter(), { name: "polling" });
  const engine = Object.assign(new EventEmitter(), { transport, readyState: "open" });
  // All that a session asks of its engine and its node.
  const context = { ...guardParts(), limits: DEFAULT_LIMITS } as unknown as GatewayContext;
  const session = new SocketIoSession(engine as never, "a", context);
  const text = "€".repeat(1_000);
  engine.emit("packetCreate", { data: text });
  expect(session.bufferedBytes).toBe(EURO_BYTES * 1_000);
  engine.emit("packetCreate", { data: text, options: { bytes: Buffer.byteLength(text) } });
  expect(session.bufferedBytes).toBe(2 * EURO_BYTES * 1_000);
  // The engine hands both to the transport, and the transport to the system.
  engine.emit("flush", [{ data: text }, { data: text, options: { bytes: Buffer.byteLength(text) } }]);
  transport.emit("drain");
  expect(session.bufferedBytes).toBe(0);
});
