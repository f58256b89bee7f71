import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import { ClientError } from "../connection/client-error.ts";
import type { Connection } from "../connection/connection.ts";
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
  #onBrokenFrame: (status: number) => void = () => {};

  /** Registers a listener that is called before the library closes because of a frame that it refuses. */
  beforeRefusal(listener: (status: number) => void): void {
    this.#onBrokenFrame = listener;
  }

  override close(status?: number, reason?: string | Buffer): void {
    const isRefusal = status !== undefined && reason === undefined && this.readyState === WebSocket.OPEN;
    if (isRefusal) this.#onBrokenFrame(status);
    super.close(status, reason);
  }
}

/** Passes all events of a WebSocket to its connection. */
export function followWebSocket(
  ws: ServerWebSocket,
  socket: Socket,
  transport: WsTransport,
  { connection, inbox }: OpenedConnection,
): void {
  const { limits } = connection.context;
  ws.beforeRefusal(connection.guarded("ws.refusal", (status: number) => refuseFrame(connection, status)));
  const received = (data: Buffer, isBinary: boolean) => {
    if (transport.compression !== null) freeInflater(ws);
    if (isBinary)
      refuse(connection, CLOSE_CODES.malformedMessage, "a message must be a text frame", "binary");
    else inbox.receive(readMessage(data.toString("utf8"), data.length, limits), Date.now());
  };
  const frames = new ControlFrames(connection.context, Date.now());
  /** Whether a control frame is within the rate and should be processed. */
  const isWithinRate = () => {
    if (connection.isClosed) return false;
    if (frames.take(Date.now())) return true;
    refuseFlood(connection);
    return false;
  };
  const pinged = (data: Buffer) => {
    if (!isWithinRate()) return;
    inbox.heard();
    connection.outbox.pong(data);
  };
  const ponged = () => {
    if (isWithinRate()) inbox.heard();
  };
  ws.on("message", connection.guarded("ws.message", received));
  ws.on("ping", connection.guarded("ws.ping", pinged));
  ws.on("pong", connection.guarded("ws.pong", ponged));
  // The connection is closed already at this point: see `ServerWebSocket`.
  ws.on(
    "error",
    connection.guarded("ws.error", () => transport.cutOffSoon()),
  );
  ws.on(
    "close",
    connection.guarded("ws.close", (code: number) => connection.transportEnded(codeOfClient(code))),
  );
  socket.on(
    "close",
    connection.guarded("ws.socket", () => connection.transportEnded(NO_CLOSE_FRAME)),
  );
}

/** Closes the connection without reading more: see `WsTransport.close`. */
function refuseFlood(connection: Connection): void {
  const value = connection.context.limits.requestsPerSecond;
  const text = `more than ${value} pings and pongs a second`;
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
