import type { ClientMessage, ErrorMessage, ServerMessage, WelcomeMessage } from "../protocol/messages.ts";
import type { LiveResult } from "./live-result.ts";
import { RequestQueue } from "./request-queue.ts";
import type { Transport } from "./transport.ts";
import type { View } from "./view.ts";

/** One connection, and what is known of it. */
export class Link {
  /** By the number of the live query, or by the stream they come in. */
  readonly views = new Map<string, View>();
  /** Those that wait for the answer to their `subscribe`. */
  readonly asked = new Set<LiveResult>();
  /** Those that it delivers for. */
  readonly serves = new Set<LiveResult>();
  /** Requests, which are sent at the pace that the service allows. */
  readonly requests = new RequestQueue((message) => this.#transport?.send(message));
  #transport: Transport | undefined;
  #hasToken = false;
  #isReady = false;
  #isDraining = false;
  #greeting: WelcomeMessage | undefined;
  #lastError: ErrorMessage | undefined;
  /** The ends of subscriptions that were sent early; they follow when the connection is ready. */
  #ends: ClientMessage[] = [];

  /** `undefined` until the token is there; a transport reports nothing before it is set. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  /** The application has given a token. A connection that ends before that says nothing about its transport. */
  get hasToken(): boolean {
    return this.#hasToken;
  }

  /** Whether requests can be sent. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether the node has announced its end. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** `undefined` until the service has accepted the client. */
  get greeting(): WelcomeMessage | undefined {
    return this.#greeting;
  }

  /** The error about the connection itself, if it was the last message: then it is why the connection ends. */
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

  /** @returns `false` if the node had announced its end before. */
  drain(): boolean {
    const isNews = !this.#isDraining;
    this.#isDraining = true;
    return isNews;
  }

  /** Remembers an error about the connection until another message comes. */
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

  /** Forgets the views that nobody shows any more; not while one may still be answered with `shared`. */
  prune(): void {
    // The answer to a request may be `shared`, which names a view that is already here.
    if (this.asked.size > 0) return;
    for (const [key, view] of this.views) if (view.watchers.size === 0) this.views.delete(key);
  }

  /** From now on the view is another connection's. */
  forget(view: View): void {
    for (const [key, held] of this.views) if (held === view) this.views.delete(key);
  }

  end(): void {
    this.requests.end();
    this.#isReady = false;
    this.#transport?.end();
  }
}
