import type { Identity } from "../auth/verify-token.ts";
import type { Chunk } from "../feed/chunk.ts";
import type { ParsedRequest } from "../rules/authorize.ts";
import type { Subscription } from "./connection/subscription.ts";

/** The client of an observation. */
export interface TracedClient {
  readonly id: string;
  readonly identity: Identity | null;
}

/** Observes what clients receive, and the decisions about their rights, while an admin traces. No method throws. */
export interface ClientTrace {
  /** The changes of a live query were offered to the outbox of a client. @param attachment An `Attachment`. */
  offered(attachment: object, chunk: Chunk, isWritten: boolean): void;
  /** A subscription has started, or has moved to another live query. @param how As the client reads it. */
  started(client: TracedClient, subscription: Subscription, how: string): void;
  /** A subscription could not be made. */
  refused(
    client: TracedClient,
    asked: { readonly id: string; readonly request: ParsedRequest },
    error: unknown,
  ): void;
  /** A subscription has ended although its client did not want that. */
  ended(client: TracedClient, subscription: Subscription, reason: string): void;
}
