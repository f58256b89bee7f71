import { Client, type OperationTime, type WebSocketConstructor } from "../client/client.ts";
import type { NextStep } from "../client/reconnect.ts";
import type {
  ErrorMessage,
  ServerMessage,
  SubscribeMessage,
  UnsubscribedReason,
  ValueMode,
  WelcomeMessage,
} from "../protocol/messages.ts";
import { TerminalSocket } from "./terminal-socket.ts";

/** The state of the connection, for programs that show it. */
export type FollowState =
  | { readonly is: "connecting" }
  | { readonly is: "connected"; readonly welcome: WelcomeMessage }
  /** Cut off; the next attempt comes after `delayMs`. */
  | { readonly is: "waiting"; readonly code: number; readonly reason: string; readonly delayMs: number }
  /** The node is shutting down. The client opens another connection before it closes this one. */
  | { readonly is: "moving"; readonly withinMs: number };

/** Why a query is no longer followed. */
export type FollowEnd =
  | { readonly why: "stopped" }
  | { readonly why: "closed"; readonly code: number; readonly reason: string }
  | { readonly why: "refused"; readonly error: ErrorMessage }
  | { readonly why: "unsubscribed"; readonly reason: UnsubscribedReason }
  | { readonly why: "no-token" };

/** The query to follow, the token to use, and the callbacks. */
export interface FollowOptions {
  /** The service, without the path of its WebSocket. */
  readonly url: string;
  readonly token: () => Promise<string | undefined>;
  /** Whether `token` gives another token once the last one has expired. */
  readonly hasNewTokens: boolean;
  readonly request: Pick<SubscribeMessage, "collection" | "filter" | "fields" | "snapshot" | "aggregate">;
  readonly values?: ValueMode;
  /** Every message of the service, in order. */
  readonly onMessage: (message: ServerMessage) => void;
  readonly onState?: (state: FollowState) => void;
  /** In tests: a WebSocket without a network. */
  readonly WebSocket?: WebSocketConstructor;
}

/** One query with a client of its own, which reports everything that the service sends about it. */
export class FollowedQuery {
  readonly ended: Promise<FollowEnd>;
  readonly #options: FollowOptions;
  readonly #client: Client;
  #end: (end: FollowEnd) => void = () => {};
  #hasEnded = false;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const { url, token, values, request, WebSocket = TerminalSocket } = options;
    const { collection, filter, fields, snapshot, aggregate } = request;
    this.#client = new Client(
      {
        url,
        token,
        transports: ["ws"],
        WebSocket,
        logger: false,
        ...(values === undefined ? {} : { values }),
      },
      {
        connecting: () => {
          if (!this.#hasEnded) options.onState?.({ is: "connecting" });
        },
        message: (message) => this.#received(message),
        cut: (code, reason, step) => this.#cut(code, reason, step),
      },
    );
    const all = this.#client.collection(collection).find(filter, snapshot === undefined ? {} : { snapshot });
    const query = fields === undefined ? all : all.fields(...fields);
    // The end of a connection always follows a message or a cut, so the query knows the reason already.
    (aggregate === undefined ? query : query.aggregate(aggregate)).subscribe({});
  }

  /** Ends the query. Nothing is reported after that. */
  stop(): void {
    this.#finish({ why: "stopped" });
  }

  /** Settles once every change up to a write's operation time has come. @throws {TidewireError} `unavailable` */
  fence(operationTime: OperationTime): Promise<void> {
    return this.#client.fence(operationTime);
  }

  #received(message: ServerMessage): void {
    if (this.#hasEnded) return;
    const { onMessage, onState } = this.#options;
    if (message.type === "welcome") onState?.({ is: "connected", welcome: message });
    onMessage(message);
    if (message.type === "draining") onState?.({ is: "moving", withinMs: message.withinMs });
    if (message.type === "unsubscribed") this.#finish({ why: "unsubscribed", reason: message.reason });
    // An error without an id is about the connection, whose close code says more.
    const isRefusal = message.type === "error" && message.id !== undefined;
    if (isRefusal && (message.retry === "never" || message.retry === "token"))
      this.#finish({ why: "refused", error: message });
  }

  #cut(code: number, reason: string, step: NextStep): void {
    if (this.#hasEnded) return;
    if (step.action === "stop") this.#finish({ why: "closed", code, reason });
    else if (step.withNewToken && !this.#options.hasNewTokens) this.#finish({ why: "no-token" });
    else this.#options.onState?.({ is: "waiting", code, reason, delayMs: step.delayMs });
  }

  #finish(end: FollowEnd): void {
    this.#hasEnded = true;
    this.#end(end);
    // The client is still processing this message, so it ends after that.
    queueMicrotask(() => this.#client.close());
  }
}
