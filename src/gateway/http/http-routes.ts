import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "../../auth/verify-token.ts";
import { guarded, noteFault, runGuarded } from "../../metrics/guard.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { SubscribeMessage } from "../../protocol/messages.ts";
import { ClientError, toErrorMessage } from "../connection/client-error.ts";
import { presenceOf } from "../connection/handlers/enter.ts";
import { identify } from "../connection/handlers/hello.ts";
import type { OpenConnection, OpenedConnection } from "../connection/open-connection.ts";
import type { Transport } from "../connection/transport.ts";
import type { GatewayContext } from "../context.ts";
import { ENDED, type EventId, parseEventId, START_OVER } from "../rights/event-id.ts";
import { answerError, answerJson, HttpExchange, willPass } from "../transports/http-exchange.ts";
import { PollTransport } from "../transports/poll.ts";
import { answerForNow, SseTransport } from "../transports/sse.ts";
import { NO_CLOSE_FRAME } from "../transports/ws.ts";
import type { Admission } from "./admission.ts";
import type { Callers } from "./callers.ts";
import { answerPreflight, isPreflight } from "./cors.ts";
import { chargeConnect, checkOrigin } from "./http-admission.ts";
import { bearerOf, parseEnterUrl, parseLeaveUrl, parseUrlRequest, type UrlRequest } from "./http-request.ts";

const SSE_PATH = "/v1/sse";
/** The close code of a connection whose answer was sent completely. */
const COMPLETE = 1000;

type Route = (request: IncomingMessage, response: ServerResponse, address: string) => Promise<void>;

/**
 * [7] The routes over plain HTTP. A stream and a poll are connections like any other, with their own transports. The
 * service reads a `hello` and a `subscribe` from the request.
 */
export class HttpRoutes {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #open: OpenConnection;
  readonly #callers: Callers;
  readonly #routes: ReadonlyMap<string, { readonly method: string; readonly serve: Route }>;
  readonly #streams = new Set<SseTransport>();
  readonly #commenter: NodeJS.Timeout;

  constructor(
    context: GatewayContext,
    admission: Admission,
    { open, callers }: { readonly open: OpenConnection; readonly callers: Callers },
  ) {
    this.#context = context;
    this.#admission = admission;
    this.#open = open;
    this.#callers = callers;
    this.#routes = new Map([
      [SSE_PATH, { method: "GET", serve: this.#stream.bind(this) }],
      ["/v1/poll", { method: "GET", serve: this.#poll.bind(this) }],
      ["/v1/key", { method: "POST", serve: this.#giveKey.bind(this) }],
      ["/v1/enter", { method: "POST", serve: this.#enter.bind(this) }],
      ["/v1/leave", { method: "POST", serve: this.#leave.bind(this) }],
    ]);
    // One timer for all streams, because each comment is only three bytes.
    const comment = guarded(context, "http.comment", () => this.#comment());
    this.#commenter = setInterval(comment, context.server.sseCommentMs).unref();
  }

  stop(): void {
    clearInterval(this.#commenter);
  }

  /** Answers a request; `false` if the path is none of these. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const route = this.#routes.get(pathOf(request));
    if (route === undefined) return false;
    const serve = () => this.#serve(route.method, route.serve, request, response);
    const answer = () => serve().catch((error: unknown) => this.#refuse(request, response, error));
    runGuarded(this.#context, "http.request", answer, () => response.destroy());
    return true;
  }

  async #serve(
    method: string,
    serve: Route,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    // A body has no meaning here. Left unread, it would block the next request on the socket.
    request.resume();
    const address = this.#admission.addressOf(request);
    checkOrigin(request, response, this.#context, address);
    if (isPreflight(request)) {
      answerPreflight(response, method);
      return;
    }
    if (request.method !== method) {
      response.setHeader("Allow", `${method}, OPTIONS`);
      answerError(
        response,
        toErrorMessage(new TidewireError("bad-request", `use ${method} here`), this.#context.log),
        405,
      );
      return;
    }
    chargeConnect(this.#admission, address, this.#context);
    await serve(request, response, address);
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.headersSent) {
      noteFault(this.#context, "http.stream", error);
      response.destroy();
      return;
    }
    const message = toErrorMessage(error, this.#context.log);
    this.#context.metrics.errorsSent.inc({ code: message.code });
    const comesBack = pathOf(request) === SSE_PATH && lastEventIdOf(request) !== null;
    if (comesBack && willPass(message)) {
      answerForNow(new HttpExchange(request, response, this.#context), message, this.#retryMs());
    } else answerError(response, message);
  }

  /** Random, because clients that a node loses at once must not all return at once. */
  #retryMs(): number {
    return Math.round(this.#context.server.sseRetryMs * (0.5 + Math.random()));
  }

  async #stream(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const { sealer, limits } = this.#context;
    const asked = parseUrlRequest(request.url ?? "", "sse", limits);
    const lastEventId = lastEventIdOf(request);
    const exchange = new HttpExchange(request, response, this.#context);
    if (lastEventId?.cursor === ENDED) {
      exchange.answerNothing();
      return;
    }
    const transport = new SseTransport(exchange, {
      wantsSnapshot: asked.subscribe.snapshot !== false,
      isReconnection: lastEventId !== null,
      retryMs: this.#retryMs(),
      mark: (ticket) => sealer.mark(ticket),
    });
    this.#streams.add(transport);
    response.once(
      "close",
      exchange.guarded("sse.close", () => this.#streams.delete(transport)),
    );
    const subscribe = resumeFrom(asked.subscribe, lastEventId);
    const { key } = asked;
    const token = bearerOf(request);
    if (token !== undefined && key !== null) {
      throw new TidewireError("bad-request", "either a token or a key, not both", { path: "key" });
    }
    const opened = this.#connect(response, transport, address);
    await this.#ask(opened, { ...asked, subscribe }, () =>
      key === null ? identify(this.#context, token, address) : this.#redeem(key, lastEventId, address),
    );
  }

  async #poll(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const asked = parseUrlRequest(request.url ?? "", "poll", this.#context.limits);
    const exchange = new HttpExchange(request, response, this.#context);
    let timer: NodeJS.Timeout | undefined;
    response.once(
      "close",
      exchange.guarded("poll.close", () => clearTimeout(timer)),
    );
    const transport = new PollTransport(exchange, {
      wantsSnapshot: asked.subscribe.snapshot !== false,
      limitBytes: this.#context.limits.pollBytes,
      compression: takesGzip(request) ? this.#context.compression : null,
      onSubscribed: () => {
        const due = connection.guarded("poll.due", () => {
          // A watermark first, so that the cursor of a quiet query does not grow old.
          connection.progress.sendWatermark();
          transport.due();
        });
        timer = setTimeout(due, asked.waitMs);
      },
    });
    const opened = this.#connect(response, transport, address);
    const { connection } = opened;
    await this.#ask(opened, asked, () => identify(this.#context, bearerOf(request), address));
  }

  async #giveKey(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    // An empty token is refused, so that anonymous clients receive no key.
    const identity = await this.#identify(request, address, bearerOf(request) ?? "");
    if (identity !== null) answerJson(response, 200, await this.#context.urlKeys.issue(identity));
  }

  /** [3.5] Clients without a WebSocket repeat this within the ttl. */
  async #enter(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const presence = presenceOf(this.#context);
    const entry = parseEnterUrl(request.url ?? "", this.#context.limits);
    await presence.enterOnce(await this.#identify(request, address), entry);
    answerJson(response, 200, { type: "entered", ttl: presence.ttlMs });
  }

  async #leave(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const presence = presenceOf(this.#context);
    const entry = parseLeaveUrl(request.url ?? "", this.#context.limits);
    await presence.leaveOnce(await this.#identify(request, address), entry);
    answerJson(response, 200, { type: "left", reason: "requested" });
  }

  /** The user of a request that makes no connection, which is charged here. */
  #identify(
    request: IncomingMessage,
    address: string,
    token: string | undefined = bearerOf(request),
  ): Promise<Identity | null> {
    return this.#callers.identify(token, address, Buffer.byteLength(request.url ?? ""));
  }

  #comment(): void {
    for (const stream of this.#streams) stream.comment();
  }

  #connect(response: ServerResponse, transport: Transport, address: string): OpenedConnection {
    const opened = this.#open(transport, address, Date.now());
    const { connection } = opened;
    const ended = () => connection.transportEnded(response.writableFinished ? COMPLETE : NO_CLOSE_FRAME);
    response.once("close", connection.guarded("http.close", ended));
    return opened;
  }

  /** Reads a `hello` and a `subscribe` from the request, and handles both. */
  async #ask(
    { connection, inbox }: OpenedConnection,
    asked: UrlRequest,
    who: () => Promise<Identity | null>,
  ): Promise<void> {
    if (connection.isClosed) return;
    await inbox.authenticateByRequest(who, asked.values);
    const { subscribe, bytes } = asked;
    if (connection.isOpen) inbox.receive({ fields: { ...subscribe }, bytes }, Date.now());
  }

  async #redeem(key: string, lastEventId: EventId | null, address: string): Promise<Identity> {
    try {
      const identity = await this.#context.urlKeys.redeem(key, lastEventId);
      await this.#context.trust.ensureKeys(identity);
      return identity;
    } catch (error) {
      if (!(error instanceof TidewireError) || error.code !== "unauthenticated") throw error;
      this.#context.refusals.note("key", { address });
      const { message, details, retry } = error;
      throw new ClientError("unauthenticated", message, CLOSE_CODES.notAuthenticated, {
        details,
        retry,
        cause: error,
      });
    }
  }
}

const pathOf = ({ url = "" }: IncomingMessage): string => url.split("?")[0] ?? "";

/**
 * Stands for an id that is damaged or of another service. It leads to `cursor-invalid`, like a cursor without its
 * ticket.
 */
const NOT_OURS: EventId = { mark: "", ticket: "", cursor: "invalid" };

function lastEventIdOf({ headers }: IncomingMessage): EventId | null {
  const text = String(headers["last-event-id"] ?? "");
  return text === "" ? null : (parseEventId(text) ?? NOT_OURS);
}

/** The id of a browser's reconnection is newer than the cursor in the URL, which the browser repeats unchanged. */
function resumeFrom(subscribe: SubscribeMessage, lastEventId: EventId | null): SubscribeMessage {
  if (lastEventId === null) return subscribe;
  const { cursor: _cursor, ticket: _ticket, ...request } = subscribe;
  const { cursor, ticket } = lastEventId;
  if (cursor === START_OVER) return request;
  return { ...request, cursor, ...(ticket === "" ? {} : { ticket }) };
}

/** Whether the client accepts gzip (RFC 9110, 12.5.3). An entry for gzip itself decides before one for all codings. */
function takesGzip({ headers }: IncomingMessage): boolean {
  const accepted = String(headers["accept-encoding"] ?? "")
    .toLowerCase()
    .split(",");
  const weightOf = (coding: RegExp) => {
    const entry = accepted.find((text) => coding.test(text));
    return entry === undefined ? undefined : Number(/;\s*q=([\d.]+)/.exec(entry)?.[1] ?? 1);
  };
  return (weightOf(/^\s*(?:x-)?gzip\s*(?:;|$)/) ?? weightOf(/^\s*\*\s*(?:;|$)/) ?? 0) > 0;
}
