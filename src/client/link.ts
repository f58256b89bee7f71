/**
 * One connection attempt and everything known about it. During a change of node or transport two links exist at once,
 * so nothing about a connection is stored in the session itself.
 */
import type { ClientMessage, ErrorMessage, ServerMessage, WelcomeMessage } from "../protocol/messages.ts";
import type { LiveResult } from "./live-result.ts";
import { RequestQueue } from "./request-queue.ts";
import type { Transport } from "./transport.ts";
import type { View } from "./view.ts";

/** One connection and its state. The session and the subscriptions write the fields. */
export class Link {
  /** By the number of the live query, or by the stream that carries them. */
  readonly views = new Map<string, View>();
  /** Results that wait for the answer to their `subscribe`. */
  readonly asked = new Set<LiveResult>();
  /** Results for which a `subscribe` was sent, in the order of the messages. */
  readonly sent = new Set<LiveResult>();
  /** Results for which this connection delivers. */
  readonly serves = new Set<LiveResult>();
  /** Requests, which are sent at the rate that the service permits. */
  readonly requests = new RequestQueue((message) => this.transport?.send(message));
  /** `undefined` until the token is available. A transport reports nothing before it is set. */
  transport: Transport | undefined;
  /** Whether the application has returned a token. A connection that ends before that says nothing about its transport. */
  hasToken = false;
  hasEnded = false;
  /** Whether requests can be sent. */
  isReady = false;
  /** Whether the node has announced its shutdown. */
  isDraining = false;
  /** `undefined` until the service has accepted the client. */
  greeting: WelcomeMessage | undefined;
  /** The error about the connection itself, if it was the last message. In that case it is the reason for the end. */
  lastError: ErrorMessage | undefined;
  /** The ends of subscriptions that were requested early. They are sent when the connection is ready. */
  #ends: ClientMessage[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  /** Remembers an error about the connection until another message arrives. */
  heard(message: ServerMessage): void {
    if (message.type !== "error") this.lastError = undefined;
    else if (message.id === undefined) this.lastError = message;
  }

  ready(): void {
    this.isReady = true;
    for (const end of this.#ends) this.send(end);
    this.#ends = [];
    this.requests.ready();
  }

  send(message: ClientMessage): void {
    if (this.isReady) this.transport?.send(message);
    else if (message.type === "unsubscribe" && this.requests.wasEarly) this.#ends.push(message);
  }

  /** Runs `work` after a delay, in milliseconds, unless the connection has ended by then. */
  later(delayMs: number, work: () => unknown): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
  }

  /** A query is over. */
  drop(result: LiveResult): void {
    for (const results of [this.asked, this.sent, this.serves]) results.delete(result);
  }

  /** Drops the views that are no longer shown. */
  prune(): void {
    // The answer to a pending request may be `shared`, which refers to a view that exists already.
    if (this.asked.size > 0) return;
    for (const [key, { watchers }] of this.views) if (watchers.size === 0) this.views.delete(key);
  }

  /** Another connection owns the view from now on. */
  forget(view: View): void {
    for (const [key, held] of this.views) if (held === view) this.views.delete(key);
  }

  end(): void {
    this.hasEnded = true;
    this.isReady = false;
    this.requests.end();
    for (const timer of this.#timers) clearTimeout(timer);
    this.transport?.end();
  }
}
