import { TidewireError } from "../../protocol/errors.ts";
import type {
  ClientMessage,
  ErrorMessage,
  ServerMessage,
  SubscribeMessage,
  WelcomeMessage,
} from "../../protocol/messages.ts";
import type { LiveRequest, LiveResult } from "../live-result.ts";
import type { QueryHost } from "../query.ts";
import type { Doc } from "../result-set.ts";
import type { Change } from "../types.ts";

/** Longer than any tab lives: the group of tabs notices a leading tab that has ended or is silent. */
const HEARTBEAT_MS = 1_000_000_000;
/** The limits of the service are those of the one connection. Between tabs there are none. */
const LIMITS = { earlyMessages: 10_000, messageBytes: 2 ** 30, requestBurst: 1e9, requestsPerSecond: 1e9 };
const WELCOME: WelcomeMessage = {
  type: "welcome",
  connection: "tab",
  node: "tab",
  heartbeat: HEARTBEAT_MS,
  user: null,
  expires: null,
  reconnect: { minMs: 20, maxMs: 1_000, factor: 2, stableAfterMs: 1_000 },
  limits: LIMITS,
};
const TICKET = "tab";
const NO_ROOMS =
  "a client that shares its connection between tabs cannot enter rooms: use createClient for presence";

/** A subscription of a tab. */
interface Followed {
  readonly leave: () => void;
}

/**
 * The service of one tab, in the tab that leads: it answers the messages of version 1 from the results of the one real
 * client.
 */
export class TabConnection {
  readonly #host: QueryHost;
  readonly #send: (message: ServerMessage) => void;
  readonly #followed = new Map<string, Followed>();
  #count = 0;

  constructor(host: QueryHost, send: (message: ServerMessage) => void) {
    this.#host = host;
    this.#send = send;
  }

  receive(message: ClientMessage): void {
    switch (message.type) {
      case "hello":
        this.#send(WELCOME);
        break;
      case "subscribe":
        this.#subscribe(message);
        break;
      case "unsubscribe":
        this.#followed.get(message.id)?.leave();
        this.#followed.delete(message.id);
        this.#send({ type: "unsubscribed", id: message.id, reason: "requested" });
        break;
      case "fence":
        this.#host.client.fence(message.operationTime).then(
          () => this.#send({ type: "fenced", id: message.id, cursor: "" }),
          (error: unknown) => this.#send(errorMessage(message.id, error)),
        );
        break;
      case "ping":
        this.#send({ type: "pong", ...(message.nonce === undefined ? {} : { nonce: message.nonce }) });
        break;
      case "enter":
        // A room would belong to the leading tab, and not to the one that asked.
        this.#send({
          ...errorMessage(message.id, new TidewireError("bad-request", NO_ROOMS)),
          retry: "never",
        });
        break;
      default:
        break; // the one client has a token of its own
    }
  }

  end(): void {
    for (const { leave } of this.#followed.values()) leave();
    this.#followed.clear();
  }

  /** Answers once the result is live, with all documents: the tab may have held an older state. */
  #subscribe({ type: _type, id, cursor: held, ticket: _ticket, ...request }: SubscribeMessage): void {
    const wanted: LiveRequest = request;
    const query = ++this.#count;
    const result = this.#host.acquire(JSON.stringify(wanted), wanted);
    let isAnswered = false;
    const answer = () => {
      if (isAnswered || result.state.status !== "live") return;
      isAnswered = true;
      this.#start(id, query, result, held !== undefined);
    };
    let hasStopped = false;
    let leave: (() => void) | undefined;
    leave = result.listen({
      state: answer,
      change: (change) => {
        if (isAnswered) this.#forward(query, change, wanted.snapshot !== false);
      },
      stopped: (error) => {
        // The one client keeps a result as long as somebody listens. This may run within `listen`.
        hasStopped = true;
        leave?.();
        this.#followed.delete(id);
        // If the whole client has stopped, this connection ends within the same turn, and says so itself.
        queueMicrotask(() => this.#stopped(id, error, isAnswered));
      },
    });
    if (hasStopped) {
      leave();
      return;
    }
    this.#followed.set(id, { leave });
    answer();
  }

  #stopped(id: string, error: TidewireError | undefined, isAnswered: boolean): void {
    const reason = new TidewireError("unavailable", "the tab that leads has closed its client");
    // The client of the leading tab has tried again as long as it could help.
    this.#send({ ...errorMessage(id, error ?? reason), retry: "never" });
    if (isAnswered)
      this.#send({ type: "unsubscribed", id, reason: error?.code === "forbidden" ? "forbidden" : "config" });
  }

  #start(id: string, query: number, result: LiveResult, isResumption: boolean): void {
    const cursor = result.view.cursor ?? "tab";
    const wantsSnapshot = result.request.snapshot !== false;
    // The changes between the tab's position and this one were not forwarded, so a query without a snapshot has a gap.
    const start = isResumption ? "reset" : wantsSnapshot ? "snapshot" : "live";
    const reason = start === "reset" ? ({ reason: "history-lost" } as const) : {};
    this.#send({ type: "subscribed", id, query, start, cursor, ticket: TICKET, ...reason });
    if (wantsSnapshot) this.#snapshot(query, result.view.list, cursor);
  }

  #snapshot(query: number, docs: readonly Doc[], cursor: string): void {
    this.#send({ type: "snapshot", query, docs: [...docs], cursor, last: true });
  }

  #forward(query: number, change: Change<Doc>, wantsSnapshot: boolean): void {
    switch (change.type) {
      case "snapshot":
        // Without documents of its own, the tab learns that there is a gap.
        this.#send({
          type: "reset",
          query,
          ticket: TICKET,
          reason: change.reason === "lagged" ? "lagged" : "history-lost",
        });
        if (wantsSnapshot) this.#snapshot(query, change.docs, "tab");
        break;
      case "removed":
        this.#send({ type: "removed", query, cursor: change.cursor, cause: change.cause, _id: change._id });
        break;
      default: {
        const { type, doc, cause, cursor, before } = change;
        const moved = before === undefined ? {} : { before };
        this.#send({ type, query, cursor, cause, doc, ...moved });
      }
    }
  }
}

/** @param id The request that the error answers. `undefined`: it concerns the connection. */
export function errorMessage(id: string | undefined, error: unknown): ErrorMessage {
  const { code, message, retry, details } =
    error instanceof TidewireError ? error : new TidewireError("internal", "the tab that leads has failed");
  return { type: "error", ...(id === undefined ? {} : { id }), code, message, retry, details };
}
