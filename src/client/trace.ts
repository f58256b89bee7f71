import type { ServerMessage } from "../protocol/messages.ts";
import type { NextStep } from "./reconnect.ts";

/** Reports what the connection of a client does, for programs that show it, such as `tidewire tail`. */
export interface Trace {
  /** A connection is being made. */
  connecting(): void;
  /** A message of the connection in use, in order. The first one of each connection is its `welcome`. */
  message(message: ServerMessage): void;
  /**
   * The connection has ended.
   * @param step The next step of the client.
   */
  cut(code: number, reason: string, step: NextStep): void;
}
