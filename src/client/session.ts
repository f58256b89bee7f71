import type { TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage, ServerMessage } from "../protocol/messages.ts";
import type { Companion } from "./companion.ts";
import { deliver } from "./deliver.ts";
import type { OperationTime } from "./fences.ts";
import { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import { openLink } from "./open-link.ts";
import { watchPage } from "./page.ts";
import { lacksPart } from "./part.ts";
import { Reconnect } from "./reconnect.ts";
import { DEFAULT_ROOM, NO_ROOM, roomOf } from "./request-queue.ts";
import type { ConnectionState, SessionOptions } from "./session-options.ts";
import { type Answer, Subscriptions } from "./subscriptions.ts";
import { clientClosed, endError, toError } from "./to-error.ts";
import { Tokens } from "./tokens.ts";
import { BROKEN, type TransportKind } from "./transport.ts";

const OVERLOADED = 1013;
/** The close code of a service that accepts fewer early messages. */
const MALFORMED = 4400;

/**
 * The one connection of a client, over its whole life: when to connect, when to replace a connection before it ends, and
 * when to give up. `subscriptions.ts` decides how subscriptions resume.
 */
export class Session {
  /** They receive every new state. */
  readonly listeners = new Set<(state: ConnectionState) => void>();
  readonly #options: SessionOptions;
  readonly #reconnect: Reconnect;
  readonly #tokens: Tokens;
  readonly #subscriptions: Subscriptions;
  #companion: Companion | undefined;
  #isAllowed: boolean;
  #stopped: TidewireError | undefined;
  /** The connection, and perhaps one that will replace it: its node shuts down, or a better transport is tried. */
  #links: readonly Link[] = [];
  /** The connection over which a new token was sent that was not answered yet. */
  #refreshing: Link | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #mayHurry = true;
  #hasBeenWelcomed = false;
  /** [3.1] How much a connection may send right after `hello`. */
  #room = DEFAULT_ROOM;
  #unwatch: (() => void) | undefined;
  /** The same object as long as nothing changes, so that frameworks can compare it. */
  #state: ConnectionState;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#isAllowed = options.autoConnect !== false;
    this.#state = { status: "idle", transport: this.#kind, error: undefined };
    this.#reconnect = new Reconnect(options.random, options.reconnect);
    this.#tokens = new Tokens(options.token, {
      renewed: (token) => this.#renewed(token),
      failed: (error) => this.#subscriptions.note(error),
    });
    this.#subscriptions = new Subscriptions(options.random, (result) => {
      // A connection may last for days. It must not keep every query that has ever been followed.
      for (const link of this.#links) link.drop(result);
      options.persistence?.remove(result);
      this.#endIfUnused();
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Permits to connect, and starts again if the session had stopped. */
  connect(): void {
    this.#isAllowed = true;
    if (this.#stopped) {
      this.#stopped = undefined;
      this.#reconnect.restart();
      // The last token may be the reason why it stopped.
      this.#tokens.forget();
      this.#setState("idle");
      this.#subscriptions.advance("restart");
    }
    if (this.#isNeeded) this.#begin();
  }

  /** Ends the connection and all queries. @param error Omitted if the application closed the client. */
  stop(error?: TidewireError): void {
    this.#stopped = error ?? clientClosed();
    this.#endAll();
    this.#options.fences?.fail(this.#stopped);
    for (const result of this.#subscriptions.list) this.#subscriptions.stop(result, error);
    this.#companion?.stopped(this.#stopped);
    this.#setState("stopped", error);
  }

  /** @returns Ends the connection if nothing needs it any more. */
  attach(companion: Companion): () => void {
    this.#companion = companion;
    if (this.#stopped) companion.stopped(this.#stopped);
    else if (this.#isAllowed) this.#begin();
    return () => this.#endIfUnused();
  }

  add(result: LiveResult): void {
    this.#subscriptions.results.set(result.id, result);
    if (this.#stopped) this.#subscriptions.stop(result, this.#stopped);
    else if (this.#isAllowed) this.#begin();
  }

  /** The kept copy of the result was read, so the result may be requested. */
  ready(result: LiveResult): void {
    result.asking.isReady = true;
    if (!this.#subscriptions.results.has(result.id)) return;
    for (const link of this.#links) if (link.requests.isOpen) this.#subscriptions.ask(link, result);
  }

  remove(result: LiveResult): void {
    this.#subscriptions.remove(result, this.#links);
    this.#endIfUnused();
  }

  /** Settles once every change up to a write's operation time has arrived. */
  fence(operationTime: OperationTime): Promise<void> {
    const { fences } = this.#options;
    if (!fences) return Promise.reject(lacksPart("fences", "fence()"));
    if (this.#subscriptions.results.size === 0) return Promise.resolve();
    if (this.#stopped) return Promise.reject(this.#stopped);
    return fences.add(operationTime, this.#link);
  }

  /** The transport of the next connection. */
  get #kind(): TransportKind {
    return this.#options.choice?.kind ?? "ws";
  }

  get #link(): Link | undefined {
    return this.#links[0];
  }

  /** Whether anything needs the connection. */
  get #isNeeded(): boolean {
    return this.#subscriptions.results.size > 0 || this.#companion?.isNeeded === true;
  }

  #setState(status: ConnectionState["status"], error?: TidewireError): void {
    const transport = this.#link?.transport?.kind ?? this.#kind;
    const before = this.#state;
    if (before.status === status && before.transport === transport && before.error === error) return;
    this.#state = Object.freeze({ status, transport, error });
    for (const listener of [...this.listeners]) listener(this.#state);
  }

  /** Connects, unless an attempt is in progress. */
  #begin(): void {
    if (this.#link || this.#retryTimer !== undefined) return;
    this.#unwatch ??= watchPage({
      awake: () => this.#awake(),
      offline: () => this.#check(),
      hidden: () => this.#options.persistence?.flush(),
    });
    const pauseMs = this.#reconnect.pauseMs();
    if (pauseMs > 0) this.#retryTimer = setTimeout(() => this.#connect(false), pauseMs);
    else this.#connect(false);
  }

  #connect(withNewToken: boolean): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const link = new Link();
    this.#links = [link];
    this.#options.trace?.connecting();
    this.#setState("connecting", this.#state.error);
    this.#subscriptions.advance("attempt");
    this.#open(link, this.#kind, withNewToken);
  }

  #open(link: Link, kind: TransportKind, withNewToken: boolean): void {
    this.#reconnect.attempted();
    void openLink(link, kind, this.#tokens, withNewToken, this.#options, {
      opened: () => {
        link.requests.opened(this.#room);
        this.#askAll(link);
      },
      ready: () => {
        link.ready();
        this.#askAll(link);
        if (link === this.#link) this.#options.fences?.send(link);
        this.#promote();
      },
      message: (message, scope) => this.#receive(link, message, scope),
      closed: (code, reason, cause) => this.#closed(link, code, reason, cause),
    });
  }

  #askAll(link: Link): void {
    this.#subscriptions.askAll(link);
    this.#companion?.ask(link);
  }

  /** Leaves the old connection once the new one has answered every request. */
  #promote(): void {
    const [old, next] = this.#links;
    if (!next?.isReady || next.asked.size > 0) return;
    this.#links = [next];
    old?.end();
    this.#options.choice?.use(next);
    this.#options.fences?.send(next);
    this.#connected(next);
  }

  #connected(link: Link): void {
    if (link !== this.#link || !link.greeting) return;
    this.#options.trace?.message(link.greeting);
    this.#setState("connected");
    this.#upgradeLater(link);
    if (link.isDraining) this.#move();
  }

  #receive(link: Link, message: ServerMessage, scope: string | undefined): void {
    link.heard(message);
    const trace = message.type === "welcome" ? undefined : this.#options.trace;
    if (this.#companion?.receive(link, message)) return;
    const wasInUse = link === this.#link;
    if (wasInUse) trace?.message(message);
    switch (message.type) {
      case "welcome":
        link.greeting = message;
        link.requests.welcome(message);
        this.#options.choice?.welcomed(link);
        this.#hasBeenWelcomed = true;
        this.#room = roomOf(message);
        this.#reconnect.welcomed(message.reconnect);
        this.#tokens.accepted(message.expires);
        this.#connected(link);
        break;
      case "subscribed":
      case "unsubscribed":
      case "error":
        this.#answered(link, message, scope);
        break;
      case "tickets":
        this.#subscriptions.renewed(message.tickets);
        break;
      case "expiring":
        void this.#tokens.renew();
        break;
      case "refreshed":
        this.#refreshing = undefined;
        this.#tokens.accepted(message.expires);
        break;
      case "draining":
        this.#draining(link, message.withinMs);
        break;
      case "fenced":
        this.#options.fences?.passed(message.id);
        break;
      default:
        deliver(link, message, scope);
    }
    if (!wasInUse && link === this.#link) trace?.message(message);
  }

  #answered(link: Link, message: Answer, scope: string | undefined): void {
    const { results } = this.#subscriptions;
    const result = results.get(message.id ?? "");
    // Messages of the old connection about a query that the new one has taken over are ignored.
    if (result && link === this.#link && this.#links[1]?.serves.has(result)) return;
    if (message.type === "error" && this.#refused(link, message)) return;
    if (result) {
      const others = this.#links.filter((other) => other !== link);
      const isValid = this.#subscriptions.answered(link, result, message, scope, others);
      if (!isValid) this.#closed(link, BROKEN, "invalid answer of the service");
    }
    this.#promote();
  }

  /** @returns Whether the error was about a fence. */
  #refused(link: Link, message: ErrorMessage): boolean {
    const { id, retryAfterMs } = message;
    if (retryAfterMs !== undefined) this.#reconnect.waitAtLeast(retryAfterMs);
    if (id !== undefined) return this.#options.fences?.refused(id, message) === true;
    if (link === this.#refreshing) {
      // The old token stays in force until it expires. The application should know why the new one was refused.
      this.#refreshing = undefined;
      this.#subscriptions.note(toError(message));
    }
    return false;
  }

  #renewed(token: string): void {
    const link = this.#link;
    if (link?.transport?.kind === "ws") {
      this.#refreshing = link;
      link.send({ type: "refresh", token });
    } else this.#move(); // a stream has one direction, so the new token needs another stream
  }

  #draining(link: Link, withinMs: number): void {
    this.#reconnect.waitAtLeast(withinMs);
    if (link.isDraining) return;
    link.isDraining = true;
    link.later(this.#reconnect.momentWithin(withinMs), () => link === this.#link && this.#move());
  }

  /** [3.2, draining] Make before break: the next connection is made while this one delivers. */
  #move(kind = this.#kind): void {
    const [active, next] = this.#links;
    if (!active?.isReady || next) return;
    const pauseMs = this.#reconnect.pauseMs();
    if (pauseMs > 0) {
      active.later(pauseMs, () => this.#move(kind));
      return;
    }
    const link = new Link();
    this.#links = [active, link];
    this.#open(link, kind, false);
  }

  /** Tries the best transport again after a while, if another one is in use. */
  #upgradeLater(link: Link): void {
    const delayMs = this.#options.choice?.upgradeMs();
    if (delayMs !== undefined) link.later(delayMs, () => this.#move(this.#options.choice?.first));
  }

  #closed(link: Link, code: number, reason: string, cause?: unknown): void {
    if (link.hasEnded) return;
    // The service accepts fewer early messages. The next connection sends none.
    const isTooEarly = !link.greeting && link.requests.wasEarly && code === MALFORMED;
    if (isTooEarly) this.#room = NO_ROOM;
    link.end();
    const wasInUse = link === this.#link;
    this.#links = this.#links.filter((other) => other !== link);
    this.#subscriptions.lost(link, this.#links);
    this.#companion?.lost();
    const active = this.#link;
    if (!active) {
      const { lastError } = link;
      const error = lastError ? toError(lastError) : endError(code, reason, cause);
      if (isTooEarly) this.#options.warnings?.heard(error);
      this.#comeBack(link, isTooEarly ? BROKEN : code, lastError?.message ?? reason, error);
    } else if (wasInUse) {
      // The old connection broke before the new one had answered every request.
      this.#subscriptions.takenOver(active);
      this.#setState("connecting");
      this.#connected(active);
    } else if (active.isDraining) active.later(this.#reconnect.nextDelayMs(), () => this.#move());
    else this.#upgradeLater(active);
  }

  #comeBack(link: Link, code: number, reason: string, error: TidewireError): void {
    this.#tokens.rest();
    this.#options.choice?.ended(link);
    const step = this.#reconnect.closed(code);
    this.#options.trace?.cut(code, reason, step);
    if (step.action === "stop") {
      this.stop(error);
      return;
    }
    // A connection that worked before is resumed. Only one that has never worked may need the developer's attention.
    if (this.#hasBeenWelcomed) this.#options.warnings?.heard(error);
    this.#mayHurry = code < 4200 && code !== OVERLOADED;
    this.#subscriptions.advance("lost", error);
    this.#setState("offline", error);
    this.#retryTimer = setTimeout(() => this.#connect(step.withNewToken), step.delayMs);
  }

  /** The network may be back: connects without further waiting, and checks whether existing connections still work. */
  #awake(): void {
    if (this.#retryTimer === undefined) this.#check();
    else if (this.#mayHurry && this.#reconnect.pauseMs() === 0) this.#connect(false);
  }

  #check(): void {
    for (const link of this.#links) link.transport?.check();
  }

  #endIfUnused(): void {
    if (this.#isNeeded || this.#stopped) return;
    this.#endAll();
    // No query is left that could lag behind a write.
    this.#options.fences?.pass();
    this.#setState("idle");
  }

  #endAll(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#tokens.rest();
    this.#unwatch?.();
    this.#unwatch = undefined;
    const links = this.#links;
    this.#links = [];
    for (const link of links) link.end();
  }
}
