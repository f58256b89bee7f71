import type { ClientMessage, ServerMessage, ValueMode } from "../protocol/messages.ts";

/** The ways to the service, best first. */
export const TRANSPORTS = ["ws", "sse", "poll"] as const;
/** One of `TRANSPORTS`. */
export type TransportKind = (typeof TRANSPORTS)[number];

/** As much of a `WebSocket` as is used; the browser's, Node's and that of the package `ws` fit. */
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
  /** The service's address, `http:` or `https:`, without a slash at the end. */
  readonly url: string;
  readonly token: string | undefined;
  readonly values: ValueMode;
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly fetch: typeof fetch;
  /** Within this time a connection has to be made, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** How much longer than a heartbeat the service may be silent, in milliseconds. */
  readonly silenceMs: number;
}

/** The events of a transport; none follows `closed`, which comes once, or `end`. */
export interface TransportEvents {
  /** `hello` was sent: a few subscriptions may follow before `ready`. Not every transport has such a moment. */
  opened(): void;
  /** Subscriptions may be sent. */
  ready(): void;
  /** @param scope The subscription that the message belongs to, where each has a stream of its own. */
  message(message: ServerMessage, scope: string | undefined): void;
  closed(code: number, reason: string, cause?: unknown): void;
}

/** A way to the service. */
export interface Transport {
  readonly kind: TransportKind;
  /** Those that go one way only take `subscribe` and `unsubscribe`, and pass over the rest. */
  send(message: ClientMessage): void;
  /** Something has happened to the network: makes sure soon that the service is still there. */
  check(): void;
  /** Drops it at once. */
  end(): void;
}

/** [5] What a connection that broke off counts as. */
export const BROKEN = 1006;

/** Notices silence. Cheap to feed: the time is noted, and looked at when it might be up. */
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

  /** A sign of life. @param patienceMs How long silence may last from now on. */
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
