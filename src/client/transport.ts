/**
 * The interface between the session and its transports. The session sees messages and ends; everything that differs
 * between WebSockets and HTTP is behind it.
 */
import type { ClientMessage, ServerMessage, ValueMode } from "../protocol/messages.ts";

/** The transports, best first. */
export const TRANSPORTS = ["ws", "sse", "poll"] as const;
/** One of `TRANSPORTS`. */
export type TransportKind = (typeof TRANSPORTS)[number];

/** The part of `WebSocket` that is used. Those of browsers, of Node and of the package `ws` fit. */
export interface WebSocketLike {
  onopen: unknown;
  onmessage: unknown;
  onclose: unknown;
  onerror: unknown;
  send(data: string): void;
  close(code?: number): void;
}
/** Opens a WebSocket, as `new WebSocket` does. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** The service, and the settings of a transport to it. */
export interface Target {
  /** The address of the service, `http:` or `https:`, without a slash at the end. */
  readonly url: string;
  readonly token: string | undefined;
  readonly values: ValueMode;
  readonly WebSocket: WebSocketConstructor | undefined;
  /** How long making a connection may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** How much longer than a heartbeat the service may be silent, in milliseconds. */
  readonly silenceMs: number;
}

/** The same, for transports over HTTP. */
export interface HttpTarget extends Target {
  readonly fetch: typeof fetch;
}

/** The events of a transport. None follows `closed`, which happens once, or `end`. */
export interface TransportEvents {
  /** `hello` was sent, so a few subscriptions may follow before `ready`. Not every transport has this event. */
  opened(): void;
  /** Subscriptions may be sent. */
  ready(): void;
  /**
   * A message has arrived.
   * @param scope The subscription of the message, if each subscription has its own stream.
   */
  message(message: ServerMessage, scope: string | undefined): void;
  closed(code: number, reason: string, cause?: unknown): void;
}

/** A connection to the service by one transport. */
export interface Transport {
  readonly kind: TransportKind;
  /** Sends a message. One-way transports accept only `subscribe` and `unsubscribe`, and ignore other messages. */
  send(message: ClientMessage): void;
  /** Sends a request that is answered at once, on transports whose requests are answered by themselves. */
  post?(path: string, query: Readonly<Record<string, string>>): Promise<ServerMessage | undefined>;
  /** The network may have changed: checks soon whether the service can still be reached. */
  check(): void;
  /** Ends it at once. */
  end(): void;
}

/** [5] The code of a connection that broke off. */
export const BROKEN = 1006;

/** Detects silence. It is cheap to feed: the time is noted, and compared only when the timer fires. */
export class Watchdog {
  readonly #onSilence: () => void;
  #patienceMs: number;
  #heardAtMs = Date.now();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(patienceMs: number, onSilence: () => void) {
    this.#onSilence = onSilence;
    this.#patienceMs = patienceMs;
    this.#look();
  }

  /**
   * A sign of life.
   * @param patienceMs How long silence may last from now on, in milliseconds.
   */
  heard(patienceMs: number): void {
    this.#heardAtMs = Date.now();
    if (patienceMs < this.#patienceMs) {
      this.stop();
      this.#timer = setTimeout(() => this.#look(), patienceMs);
    }
    this.#patienceMs = patienceMs;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const leftMs = this.#heardAtMs + this.#patienceMs - Date.now();
    if (leftMs <= 0) this.#onSilence();
    else this.#timer = setTimeout(() => this.#look(), leftMs);
  }
}
