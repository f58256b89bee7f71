import { type RawData, WebSocket } from "ws";
import type { Socket, SocketEvents } from "../client/follower.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";
import { SUBPROTOCOL } from "../protocol/messages.ts";

const HANDSHAKE_TIMEOUT_MS = 10_000;
const ANSWER_CHARACTERS_MAX = 200;

/** Opens a WebSocket of Node for a `Follower`. */
export function openSocket(url: string, events: SocketEvents): Socket {
  const socket = new WebSocket(url, [SUBPROTOCOL], {
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    perMessageDeflate: false,
  });
  let done = false;
  const closed = (code: number, reason: string) => {
    if (done) return;
    done = true;
    events.closed(code, reason);
  };
  let problem = "";
  socket.on("open", () => events.opened());
  socket.on("message", (data: RawData) => events.message(String(data)));
  socket.on("error", (error) => {
    problem = error.message;
  });
  socket.on("close", (code, reason) => closed(code, String(reason) || problem));
  socket.on("unexpected-response", (request, response) => {
    // Browsers tell nothing of it; here the answer says what to do.
    const status = response.statusCode ?? 0;
    let text = "";
    const refused = () => {
      closed(codeOfRefusal(status), `HTTP ${status}: ${text.trim().slice(0, ANSWER_CHARACTERS_MAX)}`);
      request.destroy();
    };
    response.setEncoding("utf8");
    response.on("data", (part: string) => {
      text += part;
    });
    response.on("end", refused).on("error", refused);
  });
  return {
    send: (text) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    end: () => {
      done = true;
      if (socket.readyState === WebSocket.OPEN) socket.close(1000);
      else socket.terminate();
    },
  };
}

/** The close code that asks for the same as an HTTP status before the upgrade does. */
function codeOfRefusal(status: number): number {
  if (status === 403) return CLOSE_CODES.notAllowed;
  return status === 429 || status >= 500 ? CLOSE_CODES.overloaded : CLOSE_CODES.malformedMessage;
}
