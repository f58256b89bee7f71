import type { WebSocketConstructor, WebSocketLike } from "tidewire/client";
import type { ClientMessage, ServerMessage, SubscribedMessage } from "../../protocol/messages.ts";

/** The close code that a browser reports for a broken connection. */
const BROKEN_OFF = { code: 1006, reason: "" };

/** The events of a line about resumptions and tokens. */
export interface LineEvents {
  /** The service resumes from the requested cursor. */
  resuming(cursor: string): void;
  /** The missed changes have arrived. @param missed The number of changes. */
  resumed(missed: number): void;
  renewed(): void;
}

/** One viewer's connection to the service: a WebSocket that the page can cut, with an observer of its messages. */
export class Line {
  readonly WebSocket: WebSocketConstructor;
  readonly #events: LineEvents;
  readonly #sockets = new Set<TappedSocket>();
  #isCut = false;
  #askedFrom = "";
  /** Changes of orders since the service reported `resumed`; `undefined` outside a catch-up. */
  #missed: number | undefined;
  /** The subscription to the orders, and the number of its live query. The other one is that to their numbers. */
  #orders: { readonly id: string; query: number | undefined } | undefined;

  constructor(events: LineEvents) {
    this.#events = events;
    const line = this;
    this.WebSocket = class extends TappedSocket {
      constructor(url: string, protocols: string[]) {
        super(line.#isCut ? undefined : new WebSocket(url, protocols), {
          sent: (message) => line.#sent(message),
          received: (message) => line.#received(message),
        });
        line.#missed = undefined;
        for (const old of line.#sockets) if (old.isOver) line.#sockets.delete(old);
        line.#sockets.add(this);
      }
    };
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  get isCatchingUp(): boolean {
    return this.#missed !== undefined;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.breakOff();
    this.#sockets.clear();
  }

  reconnect(): void {
    this.#isCut = false;
    // Browsers fire this event when the network is back.
    dispatchEvent(new Event("online"));
  }

  #sent(message: ClientMessage): void {
    if (message.type !== "subscribe" || message.aggregate !== undefined) return;
    this.#askedFrom = message.cursor ?? "";
    this.#orders = { id: message.id, query: undefined };
  }

  #received(message: ServerMessage): void {
    const { type } = message;
    if (type === "subscribed") {
      if (message.id === this.#orders?.id) this.#subscribed(message);
    } else if (this.#missed !== undefined) {
      const isChange = type === "added" || type === "changed" || type === "removed";
      if (isChange && message.query === this.#orders?.query) this.#missed++;
      if (type === "watermark") {
        const missed = this.#missed;
        this.#missed = undefined;
        // Deferred, so that the client has processed the message, too.
        queueMicrotask(() => this.#events.resumed(missed));
      }
    }
    if (type === "refreshed") this.#events.renewed();
  }

  #subscribed({ query, start }: SubscribedMessage): void {
    if (this.#orders !== undefined) this.#orders.query = query;
    if (start !== "resumed") return;
    this.#missed = 0;
    this.#events.resuming(this.#askedFrom);
  }
}

interface Ear {
  sent(message: ClientMessage): void;
  received(message: ServerMessage): void;
}

/** A WebSocket as the client uses it. Without a real one, it behaves like a failed connection attempt. */
class TappedSocket implements WebSocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #socket: WebSocket | undefined;
  readonly #ear: Ear;
  #hasEnded = false;

  constructor(socket: WebSocket | undefined, ear: Ear) {
    this.#socket = socket;
    this.#ear = ear;
    if (socket === undefined) {
      queueMicrotask(() => this.#end(BROKEN_OFF));
      return;
    }
    socket.onopen = () => this.onopen?.();
    socket.onmessage = ({ data }) => {
      ear.received(JSON.parse(data));
      this.onmessage?.({ data });
    };
    socket.onclose = (event) => this.#end(event);
  }

  get isOver(): boolean {
    return this.#hasEnded;
  }

  send(data: string): void {
    this.#ear.sent(JSON.parse(data));
    this.#socket?.send(data);
  }

  close(code?: number): void {
    this.#hasEnded = true;
    this.#socket?.close(code);
  }

  /** Breaks the connection: no message passes in either direction. */
  breakOff(): void {
    if (this.#socket !== undefined) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
    }
    this.#end(BROKEN_OFF);
  }

  #end(event: { code: number; reason: string }): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.onclose?.(event);
  }
}
