import { type ClientMessage, type ServerMessage, SUBPROTOCOL } from "../protocol/messages.ts";
import {
  BROKEN,
  type Target,
  type Transport,
  type TransportEvents,
  Watchdog,
  type WebSocketConstructor,
  type WebSocketLike,
} from "./transport.ts";

const NORMAL = 1000;
const CLIENT = "tidewire-js/1";

/** A WebSocket, with every subscription on one connection. */
export class WsTransport implements Transport {
  readonly kind = "ws";
  readonly #socket: WebSocketLike;
  readonly #target: Target;
  readonly #events: TransportEvents;
  readonly #watchdog: Watchdog;
  #patienceMs: number;
  #isWelcome = false;
  #failure = "";

  constructor(target: Target, events: TransportEvents) {
    const WebSocket = target.WebSocket as WebSocketConstructor; // `checkOptions` permits this transport only with one
    this.#target = target;
    this.#events = events;
    this.#patienceMs = target.connectTimeoutMs;
    const socket = new WebSocket(`${target.url.replace(/^http/, "ws")}/v1/ws`, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#watchdog = new Watchdog(this.#patienceMs, () => this.#close(BROKEN, "nothing heard"));
    socket.onopen = () => {
      const { token, values } = target;
      this.send({ type: "hello", values, client: CLIENT, ...(token !== undefined && { token }) });
      events.opened();
    };
    // Outside of browsers the event contains the reason, for example the HTTP status. `onclose` follows.
    socket.onerror = ({ message }: { message?: string }) => {
      this.#failure ||= message ?? "";
    };
    socket.onmessage = (event: { data: unknown }) => this.#receive(String(event.data));
    socket.onclose = (event: { code: number; reason: string }) =>
      this.#close(event.code, event.reason || this.#failure);
  }

  send(message: ClientMessage): void {
    this.#socket.send(JSON.stringify(message));
  }

  check(): void {
    this.#watchdog.heard(Math.min(this.#patienceMs, this.#target.silenceMs));
    if (this.#isWelcome) this.send({ type: "ping" });
  }

  end(): void {
    this.#watchdog.stop();
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(NORMAL);
  }

  #receive(text: string): void {
    let message: ServerMessage;
    try {
      message = JSON.parse(text); // the service sends only messages; unknown types are ignored
    } catch {
      // A proxy has written into the connection.
      this.#close(BROKEN, "not a message");
      return;
    }
    if (message.type === "welcome") {
      this.#patienceMs = message.heartbeat + this.#target.silenceMs;
      this.#isWelcome = true;
    }
    this.#watchdog.heard(this.#patienceMs);
    this.#events.message(message, undefined);
    if (message.type === "welcome") this.#events.ready();
  }

  #close(code: number, reason: string): void {
    this.end();
    this.#events.closed(code, reason);
  }
}
