import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type GuardParts, guarded } from "../../metrics/guard.ts";

/** Whether a request that asks for another protocol asks for WebSocket. */
export const asksForWebSocket = ({ headers: { upgrade = "" } }: IncomingMessage): boolean =>
  upgrade.split(",").some((name) => name.trim().toLowerCase() === "websocket");

/** Whether a request has a body. Node has no parser for the data after an `Upgrade`, so a body cannot be read. */
export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) !== 0;

/**
 * Answers a request over HTTP/1.1 whose `Upgrade` names a protocol that is not supported, such as `h2c`. A server
 * ignores such a header (RFC 9110, section 7.8). Node removes the socket from its HTTP server for any `Upgrade`, so the
 * answer is attached to the socket by hand, and the socket ends with it.
 */
export function answerWithoutUpgrade(
  server: Server,
  request: IncomingMessage,
  socket: Socket,
  guard: GuardParts,
): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  const answered = guarded(guard, "upgrade.answered", () => socket.destroySoon());
  const ended = guarded(guard, "upgrade.ended", () => socket.end());
  response.once("finish", answered);
  // Without a reader the end of the client would go unnoticed. Bytes that it still sends are no request.
  socket.once("end", ended);
  socket.resume();
  server.emit("request", request, response);
}
