import type { TidewireError } from "../protocol/errors.ts";
import type { ServerMessage } from "../protocol/messages.ts";
import type { Link } from "./link.ts";

/** Uses the connection of a client for something besides queries. It belongs to another entry of the package. */
export interface Companion {
  /** Whether the connection is needed, also without a query. */
  readonly isNeeded: boolean;
  /** Requests may be added to this connection. Called again when it is ready. */
  ask(link: Link): void;
  /** @returns Whether the message was meant for it. */
  receive(link: Link, message: ServerMessage): boolean;
  /** A connection has ended that was in use, or that was to replace it. */
  lost(): void;
  /** The client has stopped. */
  stopped(error: TidewireError): void;
}
