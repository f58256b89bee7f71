/**
 * The messages of protocol version 1 (docs/protocol.md, section 3). Types and plain data only: the browser
 * client shares this file, so it must not pull in a validator or a Node module.
 */
import type { ErrorCode, Retry } from "./errors.ts";

/** The name of protocol version 1 in `Sec-WebSocket-Protocol`. */
export const SUBPROTOCOL = "tidewire.v1";

/** How documents are written: what a frontend wants, or lossless MongoDB Extended JSON. */
export const VALUE_MODES = ["json", "ejson"] as const;
/** How a connection receives documents: `json` or `ejson`. */
export type ValueMode = (typeof VALUE_MODES)[number];

/** The content of `changed` messages: the whole document, or only the fields that differ. */
export const DOCUMENT_MODES = ["full", "delta"] as const;
/** The content of the `changed` messages of a subscription. */
export type DocumentMode = (typeof DOCUMENT_MODES)[number];

/** The order of a sorted result. As in MongoDB: 1 is ascending, -1 is descending. */
export type SortSpec = readonly (readonly [path: string, direction: 1 | -1])[];

/** A value of each group: how many documents it has, or the sum, average, least or greatest value of a path. */
export type AggregateValueRequest =
  | { readonly count: true }
  | { readonly sum: string }
  | { readonly avg: string }
  | { readonly min: string }
  | { readonly max: string };

/**
 * Counts and groups in place of documents (section 3.4). `by` is the path, or up to four paths, by which documents are
 * grouped; without it there is one group. `values` are the fields of the rows; the default is one count.
 */
export interface AggregateRequest {
  readonly by?: string | readonly string[];
  readonly values?: Readonly<Record<string, AggregateValueRequest>>;
}

/**
 * Authenticates a connection. It is the first message, unless the upgrade request carried the token (section 3.1).
 */
export interface HelloMessage {
  type: "hello";
  token?: string;
  values?: ValueMode;
  client?: string;
}
/** Starts a subscription. `cursor` and `ticket` together ask to continue from there (section 3.3). */
export interface SubscribeMessage {
  type: "subscribe";
  id: string;
  collection: string;
  filter?: Record<string, unknown>;
  fields?: string[];
  sort?: [string, 1 | -1][];
  limit?: number;
  snapshot?: boolean;
  cursor?: string;
  ticket?: string;
  documents?: DocumentMode;
  aggregate?: AggregateRequest;
}
/** Ends the subscription `id`. */
export interface UnsubscribeMessage {
  type: "unsubscribe";
  id: string;
}
/** Replaces the token of the connection by a newer one of the same user. */
export interface RefreshMessage {
  type: "refresh";
  token: string;
}
/** Asks for an answer once every change up to `operationTime` has been delivered. */
export interface FenceMessage {
  type: "fence";
  id: string;
  operationTime: { $timestamp: { t: number; i: number } };
}
/**
 * Enters a room (section 3.5). `tab` identifies the client over reconnections. With the `id` of an entry, replaces its
 * `data`.
 */
export interface EnterMessage {
  type: "enter";
  id: string;
  room: string;
  tab: string;
  data?: Readonly<Record<string, unknown>>;
}
/** Leaves the room of the entry `id`, at once. */
export interface LeaveMessage {
  type: "leave";
  id: string;
}
/** Asks for a `pong` with the same `nonce`. */
export interface PingMessage {
  type: "ping";
  nonce?: string | number;
}
/** Any message from a client. */
export type ClientMessage =
  | HelloMessage
  | SubscribeMessage
  | UnsubscribeMessage
  | RefreshMessage
  | FenceMessage
  | EnterMessage
  | LeaveMessage
  | PingMessage;

/** The reason why a document moved: the write, a change of rights, or another document of a limited window. */
export type Cause = "insert" | "update" | "replace" | "delete" | "grant" | "window";
/** How a subscription starts, or continues after its rights have changed (section 3.2). */
export type Start = "snapshot" | "resumed" | "live" | "shared" | "reset" | "moved";
/** Why a subscription starts with `reset` although the client gave a cursor. */
export type StartReason = "history-lost" | "rights-changed" | "cursor-invalid";

/**
 * How clients should back off: delays in milliseconds, which grow by `factor` after each failure. A connection that
 * lasts for `stableAfterMs` resets the delay.
 */
export interface ReconnectAdvice {
  minMs: number;
  maxMs: number;
  factor: number;
  stableAfterMs: number;
}
/**
 * The first message of the service. `heartbeat` is in milliseconds; `expires` is when the token expires, in epoch
 * milliseconds.
 */
export interface WelcomeMessage {
  type: "welcome";
  connection: string;
  node: string;
  heartbeat: number;
  user: string | null;
  expires: number | null;
  reconnect: ReconnectAdvice;
  limits: Record<string, number>;
}
/**
 * Answers `subscribe`, and comes again when the rights of the subscription have changed. `query` numbers the live
 * query on this connection.
 */
export interface SubscribedMessage {
  type: "subscribed";
  id: string;
  query: number;
  start: Start;
  cursor: string;
  ticket: string;
  reason?: StartReason;
  from?: number;
}
/** A batch of the result as it was at `cursor`. */
export interface SnapshotMessage {
  type: "snapshot";
  query: number;
  docs: Record<string, unknown>[];
  cursor: string;
  last: boolean;
}
/**
 * A document has become part of the result. `before` is the `_id` of the next document of a sorted result, `null` at
 * its end.
 */
export interface AddedMessage {
  type: "added";
  query: number;
  cursor: string;
  cause: Cause;
  doc: Record<string, unknown>;
  before?: unknown;
}
/**
 * A document of the result has changed: `doc` is the whole document, or `_id`, `set` and `unset` are the difference.
 * `before` is as in `added`.
 */
export interface ChangedMessage {
  type: "changed";
  query: number;
  cursor: string;
  cause: Cause;
  doc?: Record<string, unknown>;
  _id?: unknown;
  set?: Record<string, unknown>;
  unset?: string[];
  before?: unknown;
}
/** A document is no longer part of the result. */
export interface RemovedMessage {
  type: "removed";
  query: number;
  cursor: string;
  cause: Cause;
  _id: unknown;
}
/** Every change up to `cursor` has been delivered, for all subscriptions of the connection. */
export interface WatermarkMessage {
  type: "watermark";
  cursor: string;
}
/**
 * The result that the client holds is void. Its replacement follows as a snapshot, if the subscription wants
 * snapshots.
 */
export interface ResetMessage {
  type: "reset";
  query: number;
  ticket: string;
  reason: "history-lost" | "lagged";
}
/** Why a subscription has ended. */
export type UnsubscribedReason = "requested" | "forbidden" | "collection-dropped" | "config";
/** The subscription `id` has ended. Nothing more follows for it. */
export interface UnsubscribedMessage {
  type: "unsubscribed";
  id: string;
  reason: UnsubscribedReason;
}
/** Answers `refresh`. `expires` is when the new token expires, in epoch milliseconds. */
export interface RefreshedMessage {
  type: "refreshed";
  expires: number | null;
}
/** Newer tickets for active subscriptions. They replace the earlier ones. */
export interface TicketsMessage {
  type: "tickets";
  /** Newer tickets, by the ids of subscriptions. */
  tickets: Readonly<Record<string, string>>;
}
/** The token expires in `inMs` milliseconds: send `refresh`. */
export interface ExpiringMessage {
  type: "expiring";
  inMs: number;
}
/** A request has failed, or the connection is about to close. `id` names the request; `details` are for machines. */
export interface ErrorMessage {
  type: "error";
  code: ErrorCode;
  message: string;
  retry: Retry;
  retryAfterMs?: number;
  id?: string;
  details?: Readonly<Record<string, unknown>>;
}
/** The node shuts down: connect elsewhere within `withinMs` milliseconds. */
export interface DrainingMessage {
  type: "draining";
  withinMs: number;
}
/** Answers `fence`: every change up to its time has been delivered. `cursor` is a position at or after it. */
export interface FencedMessage {
  type: "fenced";
  id: string;
  cursor: string;
}
/** Answers `enter`: the entry is saved, or was there before. */
export interface EnteredMessage {
  type: "entered";
  id: string;
}
/** Why an entry has ended. After `lost` the client enters again. */
export type LeftReason = "requested" | "forbidden" | "lost";
/** The entry `id` has ended. */
export interface LeftMessage {
  type: "left";
  id: string;
  reason: LeftReason;
}
/** Answers `ping`. */
export interface PongMessage {
  type: "pong";
  nonce?: string | number;
}
/** Any message from the service. */
export type ServerMessage =
  | WelcomeMessage
  | SubscribedMessage
  | SnapshotMessage
  | AddedMessage
  | ChangedMessage
  | RemovedMessage
  | WatermarkMessage
  | ResetMessage
  | UnsubscribedMessage
  | RefreshedMessage
  | TicketsMessage
  | ExpiringMessage
  | ErrorMessage
  | DrainingMessage
  | FencedMessage
  | EnteredMessage
  | LeftMessage
  | PongMessage;
