import type { ServerMessage } from "../protocol/messages.ts";
import type { NextStep } from "./reconnect.ts";

/** Reports what the connection of a client does, for programs that show it. */
export interface Trace {
  /** A connection is being made. */
  connecting(): void;
  /** A message of the connection in use, in order; the first one of each connection is its `welcome`. */
  message(message: ServerMessage): void;
  /** The connection has ended. @param step What follows. */
  cut(code: number, reason: string, step: NextStep): void;
}
