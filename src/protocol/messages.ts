/**
 * The messages of protocol version 1 (docs/protocol.md, section 3). Types and plain data only: the browser
 * client shares this file, so it must not pull in a validator or a Node module.
 */
import type { ErrorCode, Retry } from "./errors.ts";

export const SUBPROTOCOL = "tidewire.v1";

/** How documents are written: what a frontend wants, or lossless MongoDB Extended JSON. */
export const VALUE_MODES = ["json", "ejson"] as const;
export type ValueMode = (typeof VALUE_MODES)[number];

export const DOCUMENT_MODES = ["full", "delta"] as const;
export type DocumentMode = (typeof DOCUMENT_MODES)[number];

export type SortSpec = readonly (readonly [path: string, direction: 1 | -1])[];

export interface HelloMessage {
  type: "hello";
  token?: string;
  values?: ValueMode;
  client?: string;
}
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
}
export interface UnsubscribeMessage {
  type: "unsubscribe";
  id: string;
}
export interface RefreshMessage {
  type: "refresh";
  token: string;
}
export interface FenceMessage {
  type: "fence";
  id: string;
  operationTime: { $timestamp: { t: number; i: number } };
}
export interface PingMessage {
  type: "ping";
  nonce?: string | number;
}
export type ClientMessage =
  | HelloMessage
  | SubscribeMessage
  | UnsubscribeMessage
  | RefreshMessage
  | FenceMessage
  | PingMessage;

/** The reason why a document moved: the write, a change of rights, or another document of a limited window. */
export type Cause = "insert" | "update" | "replace" | "delete" | "grant" | "window";
export type Start = "snapshot" | "resumed" | "live" | "shared" | "reset" | "moved";
export type StartReason = "history-lost" | "rights-changed" | "cursor-invalid";

export interface ReconnectAdvice {
  minMs: number;
  maxMs: number;
  factor: number;
  stableAfterMs: number;
}
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
export interface SnapshotMessage {
  type: "snapshot";
  query: number;
  docs: Record<string, unknown>[];
  cursor: string;
  last: boolean;
}
export interface AddedMessage {
  type: "added";
  query: number;
  cursor: string;
  cause: Cause;
  doc: Record<string, unknown>;
  before?: unknown;
}
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
export interface RemovedMessage {
  type: "removed";
  query: number;
  cursor: string;
  cause: Cause;
  _id: unknown;
}
export interface WatermarkMessage {
  type: "watermark";
  cursor: string;
}
export interface ResetMessage {
  type: "reset";
  query: number;
  ticket: string;
  reason: "history-lost" | "lagged";
}
export type UnsubscribedReason = "requested" | "forbidden" | "collection-dropped" | "config";
export interface UnsubscribedMessage {
  type: "unsubscribed";
  id: string;
  reason: UnsubscribedReason;
}
export interface RefreshedMessage {
  type: "refreshed";
  expires: number | null;
}
export interface TicketsMessage {
  type: "tickets";
  /** Newer tickets, by the ids of subscriptions. */
  tickets: Readonly<Record<string, string>>;
}
export interface ExpiringMessage {
  type: "expiring";
  inMs: number;
}
export interface ErrorMessage {
  type: "error";
  code: ErrorCode;
  message: string;
  retry: Retry;
  retryAfterMs?: number;
  id?: string;
  details?: Readonly<Record<string, unknown>>;
}
export interface DrainingMessage {
  type: "draining";
  withinMs: number;
}
export interface FencedMessage {
  type: "fenced";
  id: string;
  cursor: string;
}
export interface PongMessage {
  type: "pong";
  nonce?: string | number;
}
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
  | PongMessage;
