import { TidewireError } from "../protocol/errors.ts";
import type {
  ErrorMessage,
  ServerMessage,
  SubscribedMessage,
  UnsubscribedMessage,
  ValueMode,
  WelcomeMessage,
} from "../protocol/messages.ts";
import { Fences, type OperationTime } from "./fences.ts";
import { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import { watchPage } from "./page.ts";
import { Reconnect, type ReconnectOptions } from "./reconnect.ts";
import { Subscriptions } from "./subscriptions.ts";
import { endError, toError } from "./to-error.ts";
import { TokenRenewal } from "./token-renewal.ts";
import { type TokenProvider, Tokens } from "./tokens.ts";
import {
  BROKEN,
  type Target,
  type TransportEvents,
  type TransportKind,
  type WebSocketConstructor,
} from "./transport.ts";
import { WsTransport } from "./ws-transport.ts";

/** What the one connection of a client is at. */
export interface ConnectionState {
  /** `idle`: nobody follows anything, so there is none. */
  readonly status: "idle" | "connecting" | "connected" | "offline" | "stopped";
  /** The way it takes, or last took. */
  readonly transport: TransportKind;
  /** Why it has stopped, or why the last attempt failed. */
  readonly error: TidewireError | undefined;
}

export interface SessionOptions {
  readonly url: string;
  readonly token: TokenProvider | undefined;
  readonly values: ValueMode;
  /** In the order in which they are tried. */
  readonly transports: readonly TransportKind[];
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly fetch: typeof fetch;
  readonly reconnect: ReconnectOptions;
  readonly connectTimeoutMs: number;
  readonly silenceMs: number;
  /** After so long on a second choice the first is tried again, in milliseconds. */
  readonly upgradeAfterMs: number;
  readonly random: () => number;
  readonly onState: (state: ConnectionState) => void;
  /** What was kept of the result is void. */
  readonly onEnded: (result: LiveResult) => void;
  /** The page is about to be frozen or closed. */
  readonly onHidden: () => void;
}

/** Failures in a row before the next transport is tried. */
const FAILURES_PER_TRANSPORT = 2;
/** A first choice that has worked before was not what failed: it is tried again this soon, in milliseconds. */
const BACK_TO_FIRST_MS = 5_000;
/** A subscription that could not be taken is asked for again after at most this at first, in milliseconds. */
const ASK_AGAIN_MS = 1_000;
const ASK_AGAIN_MAX_MS = 30_000;
const OVERLOADED = 1013;

type Timer = ReturnType<typeof setTimeout>;

/** The one connection of a client: made when somebody follows something, made again when it breaks. */
export class Session {
  readonly #options: SessionOptions;
  readonly #reconnect: Reconnect;
  readonly #tokens: Tokens;
  readonly #renewal: TokenRenewal;
  readonly #subscriptions: Subscriptions;
  readonly #fences = new Fences();
  #isAllowed: boolean;
  #stopped: TidewireError | undefined;
  /** The connection of now, or the one that is being made. */
  #link: Link | undefined;
  /** Made while the other still delivers: its node goes away, or a better transport is tried. */
  #next: Link | undefined;
  #transport = 0;
  #failures = 0;
  /** The first choice of transport has worked since it was last taken for broken. */
  #firstHasWorked = false;
  #retryTimer: Timer | undefined;
  readonly #timers = new Set<Timer>();
  #mayHurry = true;
  #unwatch: (() => void) | undefined;
  #state: ConnectionState;

  constructor(options: SessionOptions, autoConnect: boolean) {
    this.#options = options;
    this.#isAllowed = autoConnect;
    this.#reconnect = new Reconnect(options.random, options.reconnect);
    this.#tokens = new Tokens(options.token);
    this.#renewal = new TokenRenewal(this.#tokens, {
      renewed: (token) => this.#renewed(token),
      failed: (error) => this.#note(error),
    });
    this.#state = { status: "idle", transport: this.#kind, error: undefined };
    this.#subscriptions = new Subscriptions({
      askLater: (link, result, retryAfterMs) => this.#askLater(link, result, retryAfterMs),
      ended: (result) => {
        options.onEnded(result);
        this.#endIfUnused();
      },
      broken: (link) => this.#broken(link),
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Allows to connect, and begins anew where the connection had stopped. */
  connect(): void {
    this.#isAllowed = true;
    if (this.#stopped !== undefined) {
      this.#stopped = undefined;
      this.#reconnect.restart();
      // The last one may be why it stopped.
      this.#tokens.forget();
      this.#setState("idle");
      for (const result of this.#results()) result.advance("restart");
    }
    if (this.#subscriptions.results.size > 0) this.#begin();
  }

  /** Ends the connection, and all that is followed with it. */
  stop(error: TidewireError): void {
    this.#stopped = error;
    this.#endAll();
    this.#fences.fail(error);
    for (const result of this.#results()) result.stop(error);
    this.#setState("stopped", error);
  }

  add(result: LiveResult): void {
    this.#subscriptions.results.set(result.id, result);
    if (this.#stopped !== undefined) result.stop(this.#stopped);
    else if (this.#isAllowed) this.#begin();
  }

  /** What was kept of it has been read: now it may be asked for. */
  ready(result: LiveResult): void {
    result.isReady = true;
    if (!this.#subscriptions.results.has(result.id)) return;
    for (const link of this.#links()) if (link.isReady) this.#subscriptions.ask(link, result);
  }

  remove(result: LiveResult): void {
    this.#subscriptions.remove(result, this.#links());
    this.#endIfUnused();
  }

  /** Settles once every change up to a write's operation time has come. */
  fence(operationTime: OperationTime): Promise<void> {
    if (this.#subscriptions.results.size === 0) return Promise.resolve();
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    if (this.#link?.isReady && this.#link.transport?.kind !== "ws") return Promise.reject(noFences());
    return this.#fences.add(operationTime, (message) => this.#link?.send(message));
  }

  get #kind(): TransportKind {
    return this.#options.transports[this.#transport] ?? "ws";
  }

  #results(): LiveResult[] {
    return [...this.#subscriptions.results.values()];
  }

  #note(error: TidewireError): void {
    for (const result of this.#results()) result.note(error);
  }

  #links(): Link[] {
    return [this.#link, this.#next].filter((link) => link !== undefined);
  }

  #setState(status: ConnectionState["status"], error?: TidewireError): void {
    const transport = this.#link?.transport?.kind ?? this.#kind;
    const before = this.#state;
    if (before.status === status && before.transport === transport && before.error === error) return;
    this.#state = Object.freeze({ status, transport, error });
    this.#options.onState(this.#state);
  }

  /** Connects, unless that is under way already. */
  #begin(): void {
    if (this.#link !== undefined || this.#retryTimer !== undefined) return;
    this.#unwatch ??= watchPage({
      awake: () => this.#awake(),
      offline: () => this.#check(),
      hidden: this.#options.onHidden,
    });
    const pauseMs = this.#reconnect.pauseMs(Date.now());
    if (pauseMs > 0) this.#connectLater(pauseMs, false);
    else this.#connect(false);
  }

  #connectLater(delayMs: number, withNewToken: boolean): void {
    this.#retryTimer = setTimeout(() => this.#connect(withNewToken), delayMs);
  }

  #connect(withNewToken: boolean): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const link = new Link();
    this.#link = link;
    this.#setState("connecting", this.#state.error);
    for (const result of this.#results()) result.advance("attempt");
    void this.#open(link, this.#kind, withNewToken);
  }

  async #open(link: Link, kind: TransportKind, withNewToken: boolean): Promise<void> {
    this.#reconnect.attempted(Date.now());
    try {
      const token = await within(this.#tokens.get(withNewToken), this.#options.connectTimeoutMs);
      if (!this.#links().includes(link)) return;
      link.hasToken = true;
      const target: Target = { ...this.#options, token };
      const events: TransportEvents = {
        ready: () => this.#ready(link),
        message: (message, scope) => this.#receive(link, message, scope),
        closed: (code, reason) => this.#closed(link, code, reason),
      };
      if (kind === "ws") {
        const { WebSocket } = target;
        if (WebSocket === undefined)
          throw new TypeError("there is no WebSocket here: give one to createClient");
        link.transport = new WsTransport(WebSocket, target, events);
      } else {
        // Few ever need the second choices: bundlers leave them to be fetched by those who do.
        const { HttpTransport } = await import("./http-transport.ts");
        if (this.#links().includes(link)) link.transport = new HttpTransport(kind, target, events);
      }
    } catch (cause) {
      // Whoever makes tokens has failed, or the address is none: the next attempt may fare better.
      this.#closed(link, BROKEN, cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  #ready(link: Link): void {
    link.isReady = true;
    for (const result of this.#results()) this.#subscriptions.ask(link, result);
    if (link === this.#link) this.#sendFences(link);
    this.#promote();
  }

  /** Leaves the old connection once the new one has answered for everything. */
  #promote(): void {
    const next = this.#next;
    if (next === undefined || !next.isReady || next.asked.size > 0) return;
    const old = this.#link;
    this.#link = next;
    this.#next = undefined;
    old?.end();
    this.#transport = Math.max(0, this.#options.transports.indexOf(next.transport?.kind ?? "ws"));
    this.#sendFences(next);
    this.#connected(next);
  }

  #sendFences(link: Link): void {
    if (link.transport?.kind === "ws") this.#fences.send((message) => link.send(message));
    else this.#fences.fail(noFences());
  }

  #connected(link: Link): void {
    if (link !== this.#link || link.welcomedAtMs === undefined) return;
    this.#setState("connected");
    this.#upgradeLater(link);
    if (link.isDraining) this.#move(this.#transport);
  }

  #receive(link: Link, message: ServerMessage, scope: string | undefined): void {
    // What a service says before it closes stands last; any other error is not why the connection ends.
    if (message.type !== "error") link.lastError = undefined;
    const view = "query" in message ? link.views.get(scope ?? String(message.query)) : undefined;
    switch (message.type) {
      case "welcome":
        this.#welcome(link, message);
        break;
      case "subscribed":
      case "unsubscribed":
      case "error":
        this.#answered(link, message, scope);
        break;
      case "snapshot":
        view?.snapshot(message);
        break;
      case "added":
      case "changed":
      case "removed":
        view?.change(message);
        break;
      case "reset":
        view?.reset(message);
        break;
      case "watermark":
        for (const [key, held] of link.views) {
          if (scope === undefined || scope === key) held.watermark(message.cursor);
        }
        break;
      case "tickets":
        for (const [id, ticket] of Object.entries(message.tickets))
          this.#subscriptions.results.get(id)?.renewed(ticket);
        break;
      case "expiring":
        void this.#renewal.renew();
        break;
      case "refreshed":
        link.isRefreshing = false;
        this.#renewal.expires(message.expires);
        break;
      case "draining":
        this.#draining(link, message.withinMs);
        break;
      case "fenced":
        this.#fences.passed(message.id);
    }
  }

  #answered(
    link: Link,
    message: SubscribedMessage | UnsubscribedMessage | ErrorMessage,
    scope: string | undefined,
  ): void {
    const subscriptions = this.#subscriptions;
    // What the old connection still says of a query that the new one has taken over is of no interest.
    if (link === this.#link && subscriptions.isServed(message.id, this.#next)) return;
    if (message.type === "subscribed") {
      const others = this.#links().filter((other) => other !== link);
      subscriptions.subscribed(link, message, scope, others);
    } else if (message.type === "unsubscribed") {
      subscriptions.unsubscribed(link, message);
    } else {
      if (message.retryAfterMs !== undefined) this.#reconnect.told(message.retryAfterMs, Date.now());
      if (message.id !== undefined && this.#fences.refused(message.id, message)) return;
      if (message.id === undefined && link.isRefreshing) this.#refreshRefused(link, message);
      subscriptions.error(link, message);
    }
    this.#promote();
  }

  #welcome(link: Link, message: WelcomeMessage): void {
    const nowMs = Date.now();
    link.welcome(message, nowMs);
    if (link.transport?.kind === this.#options.transports[0]) this.#firstHasWorked = true;
    this.#reconnect.welcomed(message.reconnect, nowMs);
    this.#renewal.expires(message.expires);
    this.#connected(link);
  }

  #renewed(token: string): void {
    const link = this.#link;
    if (link?.transport?.kind !== "ws") {
      // A stream goes one way only: the new token comes with another one.
      this.#move(this.#transport);
      return;
    }
    link.isRefreshing = true;
    link.send({ type: "refresh", token });
  }

  /** The old token stays in force until it expires; whoever gives tokens should know. */
  #refreshRefused(link: Link, message: ErrorMessage): void {
    link.isRefreshing = false;
    this.#note(toError(message));
  }

  #draining(link: Link, withinMs: number): void {
    this.#reconnect.told(withinMs, Date.now());
    if (link.isDraining) return;
    link.isDraining = true;
    this.#later(this.#reconnect.momentWithin(withinMs), () => {
      if (link === this.#link) this.#move(this.#transport);
    });
  }

  /** [3.2, draining] Make before break: the next connection is made while this one delivers. */
  #move(transport: number): void {
    const active = this.#link;
    if (active?.isReady !== true || this.#next !== undefined) return;
    const pauseMs = this.#reconnect.pauseMs(Date.now());
    if (pauseMs > 0) {
      this.#later(pauseMs, () => active === this.#link && this.#move(transport));
      return;
    }
    const link = new Link();
    this.#next = link;
    void this.#open(link, this.#options.transports[transport] ?? this.#kind, false);
  }

  /** A second choice serves for now; what made it necessary may pass, or was only a service that was away. */
  #upgradeLater(link: Link): void {
    if (this.#transport === 0) return;
    const { upgradeAfterMs } = this.#options;
    const delayMs = this.#firstHasWorked ? Math.min(BACK_TO_FIRST_MS, upgradeAfterMs) : upgradeAfterMs;
    this.#firstHasWorked = false;
    this.#later(delayMs, () => {
      if (link === this.#link && this.#transport > 0) this.#move(0);
    });
  }

  #broken(link: Link): void {
    link.transport?.end();
    this.#closed(link, BROKEN, "the service's answer makes no sense");
  }

  #closed(link: Link, code: number, reason: string, cause?: unknown): void {
    if (!this.#links().includes(link)) return;
    link.end();
    if (link === this.#next) {
      this.#next = undefined;
      this.#subscriptions.lost(link, this.#links());
      // The one at hand still delivers. When it ends, all begins anew.
      const active = this.#link;
      if (active?.isDraining) this.#later(this.#reconnect.nextDelayMs(), () => this.#move(this.#transport));
      else if (active !== undefined) this.#upgradeLater(active);
      return;
    }
    this.#link = this.#next;
    this.#next = undefined;
    this.#subscriptions.lost(link, this.#links());
    if (this.#link !== undefined) this.#takeOver(this.#link);
    else {
      const { lastError } = link;
      const error = lastError === undefined ? endError(code, reason, cause) : toError(lastError);
      this.#comeBack(link, code, error);
    }
  }

  /** The old connection broke off before the new one had answered for all. */
  #takeOver(link: Link): void {
    for (const result of this.#results()) {
      if (link.isReady && !link.asked.has(result)) continue;
      result.advance("lost");
      result.advance("attempt");
    }
    this.#setState("connecting");
    this.#connected(link);
  }

  #comeBack(link: Link, code: number, error: TidewireError): void {
    this.#renewal.stop();
    const nowMs = Date.now();
    if (link.welcomedAtMs !== undefined) {
      this.#failures = 0;
    } else if (link.hasToken && ++this.#failures % FAILURES_PER_TRANSPORT === 0) {
      this.#transport = (this.#transport + 1) % this.#options.transports.length;
    }
    const step = this.#reconnect.closed(code, nowMs);
    if (step.action === "stop") {
      this.stop(error);
      return;
    }
    this.#mayHurry = code < 4200 && code !== OVERLOADED;
    for (const result of this.#results()) {
      result.advance("lost");
      result.note(error);
    }
    this.#setState("offline", error);
    this.#connectLater(step.delayMs, step.withNewToken);
  }

  #askLater(link: Link, result: LiveResult, retryAfterMs: number): void {
    const mostMs = Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_MS * 2 ** result.refusals++);
    this.#later(retryAfterMs + this.#options.random() * mostMs, () => {
      if (!this.#links().includes(link) || !this.#subscriptions.results.has(result.id)) return;
      this.#subscriptions.ask(link, result);
    });
  }

  /** Now is a good time: no waiting, and no taking it on trust that the connection is still there. */
  #awake(): void {
    if (this.#retryTimer === undefined) this.#check();
    else if (this.#mayHurry && this.#reconnect.pauseMs(Date.now()) === 0) this.#connect(false);
  }

  #check(): void {
    for (const link of this.#links()) link.transport?.check();
  }

  #later(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
  }

  #endIfUnused(): void {
    if (this.#subscriptions.results.size > 0 || this.#stopped !== undefined) return;
    this.#endAll();
    this.#fences.pass();
    this.#setState("idle");
  }

  #endAll(): void {
    for (const timer of [this.#retryTimer, ...this.#timers]) clearTimeout(timer);
    this.#renewal.stop();
    this.#timers.clear();
    this.#retryTimer = undefined;
    this.#unwatch?.();
    this.#unwatch = undefined;
    const links = this.#links();
    this.#link = undefined;
    this.#next = undefined;
    for (const link of links) link.end();
  }
}

const noFences = () => new TidewireError("unavailable", "a fence needs a WebSocket, which could not be made");

/** @throws {Error} when it has not settled in time. */
async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no token came in time")), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
