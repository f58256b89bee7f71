/** The parts of the table of scenarios: a name that states a rule of protocol.md, and the world of the scenario. */
import assert from "node:assert/strict";
import type { Db, Timestamp } from "mongodb";
import type { AggregateRequest, ServerMessage } from "../../src/protocol/messages.ts";
import type { TestServiceOptions } from "../support/service.ts";
import type { Received, WsClient } from "../support/ws-client.ts";
import type { SharedService } from "./shared-service.ts";

export type TransportName = "ws" | "sse" | "poll" | "socketio" | "grpc" | "python" | "go";

/** The fields of `subscribe`, without what belongs to one transport only. */
export interface Request {
  readonly collection: string;
  readonly filter?: Record<string, unknown>;
  readonly fields?: readonly string[];
  readonly sort?: readonly (readonly [string, 1 | -1])[];
  readonly snapshot?: boolean;
  readonly aggregate?: AggregateRequest;
  readonly cursor?: string;
  readonly ticket?: string;
}

export type Claims = Record<string, unknown> | null;

export interface ReaderOptions {
  readonly values?: "json" | "ejson";
}

/** One subscription as its client sees it, on a connection (or request) of its own. */
export interface Reader {
  /** The answer, and all messages for the subscription after it, in order; no watermarks. */
  readonly received: readonly Received[];
  /** `subscribed`, or the error. */
  readonly answer: Received;
  /** Cursor and ticket to come back with: the last ones that arrived. */
  readonly place: { readonly cursor: string; readonly ticket: string };
  /** Waits for the first message that fits. */
  until(fits: (message: Received) => boolean): Promise<Received>;
  /** Settles once everything that was written to the database so far has arrived. */
  settle(): Promise<void>;
  leave(): Promise<void>;
}

/** How a transport is driven; with this, it runs every scenario that does not name another one. */
export interface Driver {
  readonly name: TransportName;
  /** The configuration that the scenario needs, if any. */
  readonly options?: Partial<TestServiceOptions>;
  /** Makes a subscription and reads it, as the user of these claims; `null`: as nobody. */
  follow(
    service: SharedService,
    claims: Claims,
    request: Request,
    options: ReaderOptions & { readonly now: () => Promise<Timestamp> },
  ): Promise<Reader>;
}

/** Where one scenario plays: a user of its own, on a service that others may use at the same time. */
export interface World {
  readonly service: SharedService;
  readonly db: Db;
  /** A user (`sub`) that no other scenario has; `notes` with this `owner` are theirs. */
  readonly me: string;
  readonly notes: NotesCollection;
  /** The cluster time after all writes so far. */
  now(): Promise<Timestamp>;
  follow(claims: Claims, request: Request, options?: ReaderOptions): Promise<Reader>;
  /** Settles once the service has read everything that was written so far. */
  settled(): Promise<void>;
  /** A WebSocket that has been welcomed. For the scenarios of WebSockets alone. */
  connect(claims: Claims, options?: ConnectOptions): Promise<WsClient>;
  /** A WebSocket that has said nothing. */
  open(headers?: Record<string, string>): Promise<WsClient>;
}

export interface ConnectOptions {
  readonly values?: "json" | "ejson";
  readonly expiresInSeconds?: number;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

export interface Note {
  _id: string;
  owner: string;
  title?: string;
  secret?: string;
  n?: number;
  public?: boolean;
  [field: string]: unknown;
}
export type NotesCollection = import("mongodb").Collection<Note>;

export interface Scenario {
  /** A sentence, after the section of the protocol that it holds up. */
  readonly name: string;
  /** Where it makes no sense on the others. */
  readonly only?: TransportName;
  readonly run: (world: World) => Promise<void>;
}

/** The words of a message that scenarios mostly ask about. */
export function brief(message: ServerMessage | Received): unknown[] {
  const { type, ...rest } = message as Received;
  switch (type) {
    case "subscribed":
      return [type, rest["start"], ...("reason" in rest ? [rest["reason"]] : [])];
    case "snapshot":
      return [type, rest["docs"]];
    case "added":
    case "changed":
      return [type, rest["cause"], rest["doc"]];
    case "removed":
      return [type, rest["cause"], rest["_id"]];
    case "error":
      return [type, rest["code"]];
    case "reset":
    case "unsubscribed":
      return [type, rest["reason"]];
    default:
      return [type];
  }
}

/** The result of a client after these messages. Each message must fit the result before it. */
export function held(messages: readonly Received[]): unknown[] {
  const documents = new Map<string, unknown>();
  const idOf = (doc: unknown) => JSON.stringify((doc as { _id: unknown })._id);
  for (const message of messages) {
    if (message.type === "subscribed" && message["start"] !== "shared") documents.clear();
    if (message.type === "reset") documents.clear();
    for (const doc of (message["docs"] as unknown[] | undefined) ?? []) documents.set(idOf(doc), doc);
    const doc = message["doc"];
    if (doc !== undefined) {
      assert.equal(documents.has(idOf(doc)), message.type === "changed", JSON.stringify(message));
      documents.set(idOf(doc), doc);
    }
    if (message.type === "removed") assert(documents.delete(idOf(message)), JSON.stringify(message));
  }
  return [...documents.values()];
}

export const briefly = (messages: readonly Received[]) => messages.map(brief);

const POLL_MS = 10;

/** Asks again until it holds. (`expect.poll` needs to know its test, which it does not in concurrent tests.) */
export async function eventually(holds: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    assert(Date.now() < deadline, `not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
