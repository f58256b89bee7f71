import type { GatewayContext } from "../context.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import { ConnectionClock } from "./connection-clock.ts";
import { Inbox } from "./inbox.ts";
import type { Transport } from "./transport.ts";

/** A connection with the parts that take its messages and keep its deadlines. */
export interface OpenedConnection {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly clock: ConnectionClock;
}

/** Opens a connection of the gateway, which counts it and applies its limits. */
export type OpenConnection = (
  transport: Transport,
  address: string,
  nowMs: number,
  context?: GatewayContext,
) => OpenedConnection;

/** Makes the parts of one connection. */
export function openConnection(
  context: GatewayContext,
  transport: Transport,
  address: string,
  events: ConnectionEvents,
  nowMs: number,
): OpenedConnection {
  const connection = new Connection(context, transport, address, events, nowMs);
  const clock = new ConnectionClock(connection, nowMs);
  return { connection, clock, inbox: new Inbox(connection, clock, nowMs) };
}
