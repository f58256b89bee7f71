import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { sharedGuarded } from "../../metrics/guard.ts";
import { amount } from "../../protocol/amount.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import { ClientError } from "../connection/client-error.ts";
import type { Connection } from "../connection/connection.ts";
import type { Inbox } from "../connection/inbox.ts";
import { readMessage } from "../connection/incoming.ts";
import type { OpenedConnection } from "../connection/open-connection.ts";
import { ControlFrames } from "./control-frames.ts";
import { NO_CLOSE_FRAME, type WsTransport } from "./ws.ts";
import { freeInflater } from "./ws-compression.ts";

/**
 * Frames that violate RFC 6455, by the status that `ws` assigns to them, with the reason that the client receives
 * first.
 */
const BROKEN_FRAMES: Readonly<Record<number, { readonly code: CloseCode; readonly reason: string }>> = {
  1002: { code: CLOSE_CODES.protocolError, reason: "a frame breaks the WebSocket protocol" },
  1007: { code: CLOSE_CODES.invalidText, reason: "a message is not valid UTF-8" },
  // Too many fragments. Each costs memory in addition to its bytes, so this counts as a kind of size.
  1008: { code: CLOSE_CODES.tooLarge, reason: "a message is in too many fragments" },
  1009: { code: CLOSE_CODES.tooLarge, reason: "a message is larger than limits.messageBytes" },
};

/**
 * A WebSocket of `ws` that lets the service send a message before `ws` closes. For a broken frame the library calls
 * `close` with a status alone, and emits the error only after that. Its answer to a client's close frame, and the
 * closes of the service, have a reason.
 */
export class ServerWebSocket extends WebSocket {
  #link: WsLink | null = null;

  /** The connection behind the WebSocket, which exists before the first event. */
  get link(): WsLink {
    if (this.#link === null) throw new Error("a WebSocket has no connection yet");
    return this.#link;
  }

  joinTo(link: WsLink): void {
    this.#link = link;
  }

  override close(status?: number, reason?: string | Buffer): void {
    const isRefusal = status !== undefined && reason === undefined && this.readyState === WebSocket.OPEN;
    // Before the library closes because of a frame that it refuses.
    if (isRefusal && this.#link !== null) onBrokenFrame.call(this.#link, status);
    super.close(status, reason);
  }
}

/** The connection behind the socket of a WebSocket. */
const LINK = Symbol("link");

type LinkedSocket = Socket & { [LINK]?: WsLink };

/** Handles the events of one WebSocket. All WebSockets share the listeners, which find the connection here. */
class WsLink {
  readonly connection: Connection;
  readonly #ws: ServerWebSocket;
  readonly #transport: WsTransport;
  readonly #inbox: Inbox;
  /** Created for the first ping or pong. */
  #frames: ControlFrames | null = null;

  constructor(ws: ServerWebSocket, transport: WsTransport, { connection, inbox }: OpenedConnection) {
    this.connection = connection;
    this.#ws = ws;
    this.#transport = transport;
    this.#inbox = inbox;
  }

  received(data: Buffer, isBinary: boolean): void {
    const { connection } = this;
    if (this.#transport.compression !== null) freeInflater(this.#ws);
    if (isBinary) {
      refuse(connection, CLOSE_CODES.malformedMessage, "a message must be a text frame", "binary");
      return;
    }
    const { limits } = connection.context;
    this.#inbox.receive(readMessage(data.toString("utf8"), data.length, limits), Date.now());
  }

  pinged(data: Buffer): void {
    if (!this.#isWithinRate()) return;
    this.#inbox.heard();
    this.connection.outbox.pong(data);
  }

  ponged(): void {
    if (this.#isWithinRate()) this.#inbox.heard();
  }

  /** The library reports an error after it has closed: see `ServerWebSocket`. */
  failed(): void {
    this.#transport.cutOffSoon();
  }

  /** Whether a control frame is within the rate and should be processed. */
  #isWithinRate(): boolean {
    if (this.connection.isClosed) return false;
    const nowMs = Date.now();
    this.#frames ??= new ControlFrames(this.connection.context, nowMs);
    if (this.#frames.take(nowMs)) return true;
    refuseFlood(this.connection);
    return false;
  }
}

const linkGuarded = <E, A extends readonly unknown[]>(
  where: string,
  linkOf: (emitter: E) => WsLink,
  run: (link: WsLink, ...args: A) => void,
) =>
  sharedGuarded<E, A>(
    (emitter) => linkOf(emitter).connection.context,
    where,
    (emitter, ...args) => run(linkOf(emitter), ...args),
    (emitter, fault) => linkOf(emitter).connection.fail(fault),
  );

// The listeners are registered on WebSockets of this class only: see `followWebSocket`.
const ofWebSocket = (ws: WebSocket): WsLink => (ws as ServerWebSocket).link;

const onMessage = linkGuarded("ws.message", ofWebSocket, (link, data: Buffer, isBinary: boolean) =>
  link.received(data, isBinary),
);
const onPing = linkGuarded("ws.ping", ofWebSocket, (link, data: Buffer) => link.pinged(data));
const onPong = linkGuarded("ws.pong", ofWebSocket, (link) => link.ponged());
const onError = linkGuarded("ws.error", ofWebSocket, (link) => link.failed());
const onClose = linkGuarded("ws.close", ofWebSocket, ({ connection }, code: number) =>
  connection.transportEnded(codeOfClient(code)),
);
const onBrokenFrame = linkGuarded(
  "ws.refusal",
  (link: WsLink) => link,
  ({ connection }, status: number) => refuseFrame(connection, status),
);
const onSocketClose = linkGuarded(
  "ws.socket",
  (socket: LinkedSocket) => {
    const link = socket[LINK];
    if (link === undefined) throw new Error("a socket has no WebSocket");
    return link;
  },
  ({ connection }) => connection.transportEnded(NO_CLOSE_FRAME),
);

/** Passes all events of a WebSocket to its connection. */
export function followWebSocket(
  ws: ServerWebSocket,
  socket: Socket,
  transport: WsTransport,
  opened: OpenedConnection,
): void {
  const link = new WsLink(ws, transport, opened);
  const linked: LinkedSocket = socket;
  ws.joinTo(link);
  linked[LINK] = link;
  ws.on("message", onMessage);
  ws.on("ping", onPing);
  ws.on("pong", onPong);
  ws.on("error", onError);
  ws.on("close", onClose);
  socket.on("close", onSocketClose);
}

/** Closes the connection without reading more: see `WsTransport.close`. */
function refuseFlood(connection: Connection): void {
  const value = connection.context.limits.requestsPerSecond;
  const text = `more than ${amount(value, "ping or pong", "pings and pongs")} a second`;
  const details = { limit: "requestsPerSecond", value };
  const error = new ClientError("too-many-requests", text, CLOSE_CODES.abuse, { details });
  connection.close(CLOSE_CODES.abuse, "too-many-requests", error);
}

function refuseFrame(connection: Connection, status: number): void {
  const { code, reason } = BROKEN_FRAMES[status] ?? {
    code: CLOSE_CODES.protocolError,
    reason: "a broken frame",
  };
  refuse(connection, code, reason, code === CLOSE_CODES.tooLarge ? "bytes" : "frame");
}

function refuse(
  connection: Connection,
  code: CloseCode,
  reason: string,
  kind: "binary" | "bytes" | "frame",
): void {
  const { metrics, limits } = connection.context;
  metrics.messagesUnread.inc({ reason: kind });
  const details = kind === "bytes" ? { limit: "messageBytes", value: limits.messageBytes } : {};
  connection.close(code, reason, new ClientError("bad-request", reason, code, { details }));
}

/** Clients may choose codes from 3000 on, so these have no meaning here. */
const codeOfClient = (code: number): number | null => (code >= 3_000 ? null : code);
