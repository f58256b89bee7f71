/**
 * One connection attempt and everything known about it. During a change of node or transport two links exist at once,
 * so nothing about a connection is stored in the session itself.
 */
import type { ClientMessage, ErrorMessage, ServerMessage, WelcomeMessage } from "../protocol/messages.ts";
import type { LiveResult } from "./live-result.ts";
import { RequestQueue } from "./request-queue.ts";
import type { Transport } from "./transport.ts";
import type { View } from "./view.ts";

/** One connection and its state. */
export class Link {
  /** By the number of the live query, or by the stream that carries them. */
  readonly views = new Map<string, View>();
  /** Results that wait for the answer to their `subscribe`. */
  readonly asked = new Set<LiveResult>();
  /** Results for which this connection delivers. */
  readonly serves = new Set<LiveResult>();
  /** Requests, which are sent at the rate that the service permits. */
  readonly requests = new RequestQueue((message) => this.#transport?.send(message));
  #transport: Transport | undefined;
  #hasToken = false;
  #isReady = false;
  #isDraining = false;
  #greeting: WelcomeMessage | undefined;
  #lastError: ErrorMessage | undefined;
  /** The ends of subscriptions that were requested early. They are sent when the connection is ready. */
  #ends: ClientMessage[] = [];

  /** `undefined` until the token is available. A transport reports nothing before it is set. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  /**
   * Whether the application has returned a token. A connection that ends before that says nothing about its transport.
   */
  get hasToken(): boolean {
    return this.#hasToken;
  }

  /** Whether requests can be sent. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether the node has announced its shutdown. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** `undefined` until the service has accepted the client. */
  get greeting(): WelcomeMessage | undefined {
    return this.#greeting;
  }

  /** The error about the connection itself, if it was the last message. In that case it is the reason for the end. */
  get lastError(): ErrorMessage | undefined {
    return this.#lastError;
  }

  gotToken(): void {
    this.#hasToken = true;
  }

  use(transport: Transport): void {
    this.#transport = transport;
  }

  becameReady(): void {
    this.#isReady = true;
    for (const end of this.#ends.splice(0)) this.send(end);
    this.requests.ready();
  }

  /**
   * Notes that the node shuts down.
   * @returns `false` if it had announced that before.
   */
  drain(): boolean {
    const isNews = !this.#isDraining;
    this.#isDraining = true;
    return isNews;
  }

  /** Remembers an error about the connection until another message arrives. */
  heard(message: ServerMessage): void {
    if (message.type !== "error") this.#lastError = undefined;
    else if (message.id === undefined) this.#lastError = message;
  }

  welcome(message: WelcomeMessage, nowMs: number): void {
    this.#greeting = message;
    this.requests.welcome(message, nowMs);
  }

  send(message: ClientMessage): void {
    if (this.#isReady) this.#transport?.send(message);
    else if (message.type === "unsubscribe" && this.requests.wasEarly) this.#ends.push(message);
  }

  /** Drops the views that are no longer shown. */
  prune(): void {
    // The answer to a pending request may be `shared`, which refers to a view that exists already.
    if (this.asked.size > 0) return;
    for (const [key, view] of this.views) if (view.watchers.size === 0) this.views.delete(key);
  }

  /** Another connection owns the view from now on. */
  forget(view: View): void {
    for (const [key, held] of this.views) if (held === view) this.views.delete(key);
  }

  end(): void {
    this.requests.end();
    this.#isReady = false;
    this.#transport?.end();
  }
}
