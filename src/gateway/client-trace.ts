import type { Identity } from "../auth/verify-token.ts";
import type { Chunk } from "../feed/chunk.ts";
import type { Delivery } from "../feed/delivery.ts";
import type { EffectiveQuery, ParsedRequest } from "../rules/authorize.ts";

/** The client of an observation. */
export interface TracedClient {
  readonly id: string;
  readonly identity: Identity | null;
}

/** One live query on one connection, as an observer sees it. */
export interface TracedAttachment {
  readonly delivery: Delivery;
  readonly query: EffectiveQuery;
  readonly ids: Iterable<string>;
  /** `null` unless rights are undecided. */
  readonly deciding: Promise<void> | null;
  readonly isDetached: boolean;
}

/** A subscription that was asked for. */
export interface TracedRequest {
  readonly id: string;
  readonly request: Pick<ParsedRequest, "collection">;
}

/** A subscription that exists. */
export interface TracedSubscription extends TracedRequest {
  readonly attachment: TracedAttachment;
  /** The query that its own request was granted. */
  readonly query: Pick<EffectiveQuery, "rule">;
}

/** Observes what clients receive, and the decisions about their rights, while an admin traces. No method throws. */
export interface ClientTrace {
  /** The changes of a live query were offered to the outbox of a client. @param attachment A `TracedAttachment`. */
  offered(attachment: object, chunk: Chunk, isWritten: boolean): void;
  /** A subscription has started, or has moved to another live query. @param how As the client reads it. */
  started(client: TracedClient, subscription: TracedSubscription, how: string): void;
  /** A subscription could not be made. */
  refused(client: TracedClient, asked: TracedRequest, error: unknown): void;
  /** A subscription has ended although its client did not want that. */
  ended(client: TracedClient, subscription: TracedSubscription, reason: string): void;
}
