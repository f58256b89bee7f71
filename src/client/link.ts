import type { ClientMessage, ErrorMessage, ServerMessage, WelcomeMessage } from "../protocol/messages.ts";
import type { Room } from "./early-room.ts";
import type { LiveResult } from "./live-result.ts";
import type { Transport } from "./transport.ts";
import type { View } from "./view.ts";

/** Half of what the service allows: other requests want their share, and clocks differ. */
const SHARE = 0.5;
const BURST = 100;
const PER_SECOND = 50;
const COST_BYTES = 1_024;

/** The type, id, cursor and ticket of a `subscribe` take at most so many bytes beside its request. */
const ENVELOPE_BYTES = 2_500;
/** In UTF-8 a text takes at most three bytes for each of its characters. */
const BYTES_PER_CHARACTER = 3;

/** As the service counts: large filters cost more. */
const costOf = (characters: number) => 1 + Math.floor(characters / COST_BYTES);

/** One connection, and what is known of it. */
export class Link {
  /** By the number of the live query, or by the stream they come in. */
  readonly views = new Map<string, View>();
  /** Those that wait for the answer to their `subscribe`. */
  readonly asked = new Set<LiveResult>();
  /** Those that it delivers for. */
  readonly serves = new Set<LiveResult>();
  #transport: Transport | undefined;
  #hasToken = false;
  #isReady = false;
  #isDraining = false;
  #greeting: WelcomeMessage | undefined;
  #lastError: ErrorMessage | undefined;
  #burst = BURST * SHARE;
  #perSecond = PER_SECOND * SHARE;
  #allowance = this.#burst;
  #countedAtMs = 0;
  /** [3.1] The room that is left for early messages, while they may be sent. */
  #early: Room | undefined;
  /** The cost of the early messages that were sent. */
  #earlyCost = 0;
  /** The ends of subscriptions that were sent early; they follow when the connection is ready. */
  #ends: ClientMessage[] = [];
  #queue: { readonly characters: number; readonly make: () => ClientMessage | undefined }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

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

  /** Whether subscriptions can be asked for: the connection is ready, or takes early messages. */
  get takesSubscriptions(): boolean {
    return this.#isReady || this.#early !== undefined;
  }

  /** Whether messages were sent before the welcome. */
  get wasEarly(): boolean {
    return this.#earlyCost > 0;
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

  /** [3.1] `hello` was sent. As many messages follow at once as there is room for, the rest when the connection is ready. */
  opened(room: Room): void {
    this.#early = room;
  }

  becameReady(): void {
    this.#isReady = true;
    this.#early = undefined;
    for (const end of this.#ends.splice(0)) this.send(end);
    if (this.#timer === undefined) this.#pump();
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
    const { limits } = message;
    this.#greeting = message;
    this.#burst = (limits["requestBurst"] ?? BURST) * SHARE;
    this.#perSecond = (limits["requestsPerSecond"] ?? PER_SECOND) * SHARE;
    this.#allowance = this.#burst - this.#earlyCost;
    this.#countedAtMs = nowMs;
  }

  send(message: ClientMessage): void {
    if (this.#isReady) this.#transport?.send(message);
    else if (message.type === "unsubscribe" && this.wasEarly) this.#ends.push(message);
  }

  /**
   * Sends what `make` gives when the service's limits have room for it; nothing if it gives nothing then.
   * @param characters The length of the message without its envelope.
   */
  sendPaced(make: () => ClientMessage | undefined, characters: number): void {
    this.#queue.push({ characters, make });
    if (this.#early !== undefined) this.#pumpEarly();
    else if (this.#timer === undefined) this.#pump();
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
    clearTimeout(this.#timer);
    this.#isReady = false;
    this.#early = undefined;
    this.#transport?.end();
  }

  #pumpEarly(): void {
    while (this.#early !== undefined) {
      const [next] = this.#queue;
      if (next === undefined) return;
      const bytes = next.characters * BYTES_PER_CHARACTER + ENVELOPE_BYTES;
      const { messages, bytes: room } = this.#early;
      if (messages < 1 || room < bytes) return;
      this.#queue.shift();
      const message = next.make();
      if (message === undefined) continue;
      this.#early = { messages: messages - 1, bytes: room - bytes };
      this.#earlyCost += costOf(next.characters);
      this.#transport?.send(message);
    }
  }

  #pump(): void {
    this.#timer = undefined;
    const nowMs = Date.now();
    const earned = ((nowMs - this.#countedAtMs) * this.#perSecond) / 1_000;
    this.#allowance = Math.min(this.#burst, this.#allowance + earned);
    this.#countedAtMs = nowMs;
    while (this.#allowance >= 1) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#allowance -= costOf(next.characters);
      const message = next.make();
      if (message !== undefined) this.send(message);
    }
    if (this.#queue.length === 0) return;
    const waitMs = ((1 - this.#allowance) * 1_000) / this.#perSecond;
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, waitMs));
  }
}
