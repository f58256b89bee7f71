/** The part of presence that connections use. The folder `presence/` implements it. */
import type { Identity } from "../auth/verify-token.ts";
import type { Payer } from "../feed/turn.ts";
import type { EnterMessage, ServerMessage } from "../protocol/messages.ts";

/** A client that enters rooms. */
export interface PresenceMember {
  readonly identity: Identity | null;
  readonly isClosed: boolean;
  /** Has the account of the user. Reads of lookups for its entries wait in the queue of this user. */
  readonly login: { readonly account: Payer };
  send(message: ServerMessage): void;
}

/** Names an entry of a user. */
export type EntryName = Pick<EnterMessage, "room" | "tab">;

/** The entries of the clients of this node. */
export interface Presence {
  /** How long an entry outlives its connection, in milliseconds. */
  readonly ttlMs: number;
  /** Whether the client has an entry under this id. */
  has(member: PresenceMember, id: string): boolean;
  /**
   * Makes an entry, or replaces its data, and answers.
   * @throws {TidewireError} `unauthenticated`, `forbidden`, `bad-request`, `duplicate-id`, `too-many-subscriptions`,
   *   `unavailable`
   */
  enter(member: PresenceMember, message: EnterMessage): Promise<void>;
  /**
   * Ends an entry at once, and answers.
   * @throws {TidewireError} `unknown-id`
   */
  leave(member: PresenceMember, id: string): Promise<void>;
  /**
   * Makes an entry for a client without a connection. It leaves after `ttlMs`, unless this is repeated.
   * @throws {TidewireError} As `enter`.
   */
  enterOnce(identity: Identity | null, message: Omit<EnterMessage, "type" | "id">): Promise<void>;
  /**
   * Ends an entry, on whichever node it is.
   * @throws {TidewireError} `unauthenticated`, `unavailable`
   */
  leaveOnce(identity: Identity | null, name: EntryName): Promise<void>;
  /** The connection has ended. Its entries leave after `ttlMs`, or now if its token is not trusted any more. */
  ended(member: PresenceMember, isUntrusted: boolean): void;
  /** A newer token is in force. Its rights count from this turn on. Never throws. */
  identityChanged(member: PresenceMember): void;
  /**
   * Other rules are in force, or `%%now` has taken a step: judges the entries again, each in one turn. Never throws.
   * @param usingNow Only the entries whose rule uses `%%now`.
   */
  judgeAll(usingNow: boolean): Generator<void, void>;
  /** Ends the entries whose token is not trusted any more, also those whose connection has ended. */
  endUntrusted(): void;
}
