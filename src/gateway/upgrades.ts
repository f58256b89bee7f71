/**
 * Admits WebSockets. The checks are ordered by cost, and a refused request never becomes a WebSocket, so that it costs
 * no more than its headers.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer, type Server as WsServer } from "ws";
import { runGuarded, sharedGuarded } from "../metrics/guard.ts";
import { SUBPROTOCOL } from "../protocol/messages.ts";
import { identify } from "./connection/handlers/hello.ts";
import type { OpenConnection } from "./connection/open-connection.ts";
import type { GatewayContext } from "./context.ts";
import type { Admission } from "./http/admission.ts";
import { isOriginAllowed } from "./http/cors.ts";
import { HostNames, UNKNOWN_HOST_TEXT } from "./http/host-names.ts";
import { bearerOf } from "./http/http-request.ts";
import { answerWithoutUpgrade, asksForWebSocket, hasBody } from "./http/plain-upgrade.ts";
import type { SocketIoEndpoint } from "./socketio/socketio-endpoint.ts";
import { WsTransport } from "./transports/ws.ts";
import { agreedCompression, declineSmallWindows, deflateOptions } from "./transports/ws-compression.ts";
import { followWebSocket, ServerWebSocket } from "./transports/ws-listeners.ts";

const WS_PATH = "/v1/ws";

/** Requests for a WebSocket. Each is refused, becomes a connection, or is passed to Socket.IO. */
export class Upgrades {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #hosts: HostNames | null;
  readonly #open: OpenConnection;
  readonly #socketIo: SocketIoEndpoint | null;
  readonly #websockets: WsServer<typeof ServerWebSocket>;
  /** One listener for all sockets. A closure in `#take` would keep the request as long as its socket. */
  readonly #onSocketError: (this: Socket) => void;

  /** @param socketIo `null` if Socket.IO is not served. */
  constructor(
    context: GatewayContext,
    admission: Admission,
    open: OpenConnection,
    socketIo: SocketIoEndpoint | null,
  ) {
    const { hosts } = context.server;
    this.#context = context;
    this.#admission = admission;
    this.#hosts = hosts === undefined ? null : new HostNames(hosts);
    this.#open = open;
    this.#socketIo = socketIo;
    this.#onSocketError = sharedGuarded(
      () => context,
      "gateway.socket",
      (socket: Socket) => socket.destroy(),
    );
    this.#websockets = new WebSocketServer({
      noServer: true,
      WebSocket: ServerWebSocket,
      perMessageDeflate: deflateOptions(context.compression),
      maxPayload: context.limits.messageBytes,
      clientTracking: false,
      // The service writes pongs itself, so that a client that pings and never reads is not read either.
      autoPong: false,
      handleProtocols: () => SUBPROTOCOL,
    });
  }

  /** Takes the upgrades of a server from here on. */
  follow(server: Server): void {
    server.on("upgrade", (request, socket, head) => {
      const take = () => this.#take(server, request, socket, head);
      runGuarded(this.#context, "gateway.upgrade", take, () => socket.destroy());
    });
  }

  #take(server: Server, request: IncomingMessage, stream: Duplex, head: Buffer): void {
    // Node's HTTP server passes the socket that it accepted. The type only promises a Duplex.
    const socket = stream as Socket;
    socket.on("error", this.#onSocketError);
    if (!asksForWebSocket(request) && !hasBody(request)) {
      answerWithoutUpgrade(server, request, socket, this.#context);
      return;
    }
    const nowMs = Date.now();
    const address = this.#admission.addressOf(request);
    const socketIo = this.#socketIo?.serves(request) ? this.#socketIo : null;
    const refusal = this.#refusalOf(request, address, nowMs, socketIo);
    if (refusal !== null) {
      this.#context.refusals.note(refusal.reason, { address, origin: request.headers.origin }, nowMs);
      refuse(socket, refusal);
      return;
    }
    if (socketIo !== null) {
      socketIo.upgrade(request, socket, head);
      return;
    }
    declineSmallWindows(request);
    this.#websockets.handleUpgrade(request, socket, head, (ws) => {
      this.#accept(ws, socket, address, bearerOf(request), nowMs);
    });
  }

  /** Why a request gets no WebSocket. It is checked before anything is spent on the request. */
  #refusalOf(
    request: IncomingMessage,
    address: string,
    nowMs: number,
    socketIo: SocketIoEndpoint | null,
  ): Refusal | null {
    const path = (request.url ?? "").split("?")[0];
    if (socketIo === null && path !== WS_PATH)
      return { status: "404 Not Found", reason: "path", text: `the WebSocket is at ${WS_PATH}` };
    if (this.#hosts?.includes(request.headers.host) === false)
      return { status: "421 Misdirected Request", reason: "host", text: UNKNOWN_HOST_TEXT };
    if (!isOriginAllowed(request.headers.origin, this.#context.server.origins)) {
      const text = "this page may not connect: server.origins does not list its origin";
      return { status: "403 Forbidden", reason: "origin", text };
    }
    const offered = request.headers["sec-websocket-protocol"];
    if (
      socketIo === null &&
      offered !== undefined &&
      !offered.split(",").some((name) => name.trim() === SUBPROTOCOL)
    ) {
      const text = `none of the offered subprotocols is supported; supported are: ${SUBPROTOCOL}`;
      return { status: "400 Bad Request", reason: "subprotocol", text };
    }
    const problem = socketIo?.problemOf(request) ?? null;
    if (problem !== null) return { status: "400 Bad Request", reason: "query", text: problem };
    // A session that changes to a WebSocket was counted when it began.
    if (socketIo?.isCounted(request)) return null;
    const over = this.#admission.overRate(address, nowMs);
    if (over === null) return null;
    const retryAfter = Math.ceil(over.waitMs / 1_000);
    return {
      status: "503 Service Unavailable",
      reason: "connect-rate",
      text: "too many new connections",
      retryAfter,
    };
  }

  #accept(
    ws: ServerWebSocket,
    socket: Socket,
    address: string,
    token: string | undefined,
    nowMs: number,
  ): void {
    const compression = agreedCompression(ws, this.#context.compression);
    const transport = new WsTransport(ws, socket, this.#context, compression);
    const opened = this.#open(transport, address, nowMs);
    const { connection, inbox } = opened;
    if (token !== undefined && !connection.isClosed) {
      connection.guarded("ws.authenticate", () =>
        inbox.authenticateByRequest(() => identify(this.#context, token, address)),
      )();
    }
    followWebSocket(ws, socket, transport, opened);
  }
}

interface Refusal {
  readonly status: string;
  /** The label of the metric. */
  readonly reason: string;
  readonly text: string;
  readonly retryAfter?: number;
}

function refuse(socket: Socket, { status, text, retryAfter }: Refusal): void {
  const body = `${text}\n`;
  const lines = [
    `HTTP/1.1 ${status}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
  ];
  // `end` alone would wait for the other side, which may never close.
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
