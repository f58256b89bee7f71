import { type RawData, WebSocket } from "ws";
import type { WebSocketLike } from "../client/transport.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";

const HANDSHAKE_TIMEOUT_MS = 10_000;
const ANSWER_CHARACTERS_MAX = 200;

type Listener = ((event: object) => void) | null;

/** A WebSocket of Node for the client. Unlike one of a browser it reports why the service refused an upgrade. */
export class TerminalSocket implements WebSocketLike {
  onopen: Listener = null;
  onmessage: Listener = null;
  onclose: Listener = null;
  onerror: Listener = null;
  readonly #socket: WebSocket;
  #problem = "";
  #isClosed = false;

  /** @param onBytes Receives the size of each message. */
  constructor(url: string, protocols: string[], onBytes?: (bytes: number) => void) {
    const socket = new WebSocket(url, protocols, {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    socket.on("open", () => this.onopen?.({}));
    socket.on("message", (data: RawData) => {
      onBytes?.(sizeOf(data));
      this.onmessage?.({ data: String(data) });
    });
    socket.on("error", (error) => {
      this.#problem = error.message;
    });
    socket.on("close", (code, reason) => this.#closed(code, String(reason) || this.#problem));
    socket.on("unexpected-response", (request, response) => {
      const status = response.statusCode ?? 0;
      let text = "";
      const refused = () => {
        const answer = text.trim().slice(0, ANSWER_CHARACTERS_MAX);
        this.#closed(codeOfRefusal(status), `HTTP ${status}: ${answer}`);
        request.destroy();
      };
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
      });
      response.on("end", refused).on("error", refused);
    });
  }

  send(text: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  close(code?: number): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(code);
    else this.#socket.terminate();
  }

  #closed(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onclose?.({ code, reason });
  }
}

/** `ws` gives a message as one buffer, unless it is asked for fragments. */
const sizeOf = (data: RawData) => (Array.isArray(data) ? 0 : data.byteLength);

/** The close code that asks a client for the same as an HTTP status before the upgrade does. */
function codeOfRefusal(status: number): number {
  if (status === 403) return CLOSE_CODES.notAllowed;
  // With 408, a busy machine has delayed the request, so that another attempt may succeed.
  return status === 408 || status === 429 || status >= 500
    ? CLOSE_CODES.overloaded
    : CLOSE_CODES.malformedMessage;
}
