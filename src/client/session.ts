import type { TidewireError } from "../protocol/errors.ts";
import type { ServerMessage } from "../protocol/messages.ts";
import type { Companion } from "./companion.ts";
import { deliver } from "./deliver.ts";
import { EarlyRoom } from "./early-room.ts";
import { Fences, type OperationTime } from "./fences.ts";
import { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import { openLink } from "./open-link.ts";
import { watchPage } from "./page.ts";
import { Reconnect } from "./reconnect.ts";
import type { ConnectionState, SessionOptions } from "./session-options.ts";
import { StateHolder } from "./state-holder.ts";
import { type Answer, Subscriptions, stopResult } from "./subscriptions.ts";
import { Timers } from "./timers.ts";
import { clientClosed, endError, toError } from "./to-error.ts";
import { TokenRenewal } from "./token-renewal.ts";
import { Tokens } from "./tokens.ts";
import { BROKEN, type TransportKind } from "./transport.ts";
import { TransportChoice } from "./transport-choice.ts";

const OVERLOADED = 1013;

/**
 * The one connection of a client, over its whole life: when to connect, when to replace a connection before it ends, and
 * when to give up. `subscriptions.ts` decides how subscriptions resume.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #reconnect: Reconnect;
  readonly #tokens: Tokens;
  readonly #renewal: TokenRenewal;
  readonly #subscriptions: Subscriptions;
  readonly #fences = new Fences();
  #isAllowed: boolean;
  #stopped: TidewireError | undefined;
  /** The current connection, or the one that is being made. */
  #link: Link | undefined;
  /** A second connection while the first still delivers: its node shuts down, or a better transport is tried. */
  #next: Link | undefined;
  /** The connection over which a new token was sent that was not answered yet. */
  #refreshing: Link | undefined;
  readonly #choice: TransportChoice;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #timers = new Timers();
  #mayHurry = true;
  readonly #early = new EarlyRoom();
  #unwatch: (() => void) | undefined;
  readonly #state: StateHolder;

  constructor(options: SessionOptions, autoConnect: boolean) {
    this.#options = options;
    this.#isAllowed = autoConnect;
    this.#choice = new TransportChoice(options.transports, options.upgradeAfterMs);
    this.#reconnect = new Reconnect(options.random, options.reconnect);
    this.#tokens = new Tokens(options.token);
    this.#renewal = new TokenRenewal(this.#tokens, {
      renewed: (token) => this.#renewed(token),
      failed: (error) => this.#subscriptions.note(error),
    });
    this.#state = new StateHolder(this.#choice.kind, options.onState);
    this.#subscriptions = new Subscriptions(
      {
        askLater: (link, result, delayMs) =>
          this.#timers.later(delayMs, () => {
            const isWanted = this.#links().includes(link) && this.#subscriptions.results.has(result.id);
            if (isWanted) this.#subscriptions.ask(link, result);
          }),
        ended: (result) => {
          options.onEnded(result);
          this.#endIfUnused();
        },
        broken: (link) => {
          link.transport?.end();
          this.#closed(link, BROKEN, "invalid answer of the service");
        },
      },
      options.random,
    );
  }

  get state(): ConnectionState {
    return this.#state.state;
  }

  /** Permits to connect, and starts again if the session had stopped. */
  connect(): void {
    this.#isAllowed = true;
    if (this.#stopped !== undefined) {
      this.#stopped = undefined;
      this.#reconnect.restart();
      // The last token may be the reason why it stopped.
      this.#tokens.forget();
      this.#setState("idle");
      for (const result of this.#subscriptions.list) result.advance("restart");
    }
    if (this.#subscriptions.areNeeded) this.#begin();
  }

  /** Ends the connection and all queries. @param error Omitted if the application closed the client. */
  stop(error?: TidewireError): void {
    this.#stopped = error ?? clientClosed();
    this.#endAll();
    this.#fences.fail(this.#stopped);
    for (const result of this.#subscriptions.list) stopResult(result, error, this.#options.onEnded);
    this.#subscriptions.companion?.stopped(this.#stopped);
    this.#setState("stopped", error);
  }

  /** @returns Ends the connection if nothing needs it any more. */
  attach(companion: Companion): () => void {
    this.#subscriptions.attach(companion);
    if (this.#stopped !== undefined) companion.stopped(this.#stopped);
    else if (this.#isAllowed) this.#begin();
    return () => this.#endIfUnused();
  }

  add(result: LiveResult): void {
    this.#subscriptions.results.set(result.id, result);
    if (this.#stopped !== undefined) stopResult(result, this.#stopped, this.#options.onEnded);
    else if (this.#isAllowed) this.#begin();
  }

  /** The kept copy of the result was read, so the result may be requested. */
  ready(result: LiveResult): void {
    this.#subscriptions.ready(result);
    if (!this.#subscriptions.results.has(result.id)) return;
    for (const link of this.#links()) if (link.requests.isOpen) this.#subscriptions.ask(link, result);
  }

  remove(result: LiveResult): void {
    this.#subscriptions.remove(result, this.#links());
    this.#endIfUnused();
  }

  /** Settles once every change up to a write's operation time has arrived. */
  fence(operationTime: OperationTime): Promise<void> {
    if (this.#subscriptions.results.size === 0) return Promise.resolve();
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    return this.#fences.add(operationTime, this.#link);
  }

  #links(): Link[] {
    return [this.#link, this.#next].filter((link) => link !== undefined);
  }

  #setState(status: ConnectionState["status"], error?: TidewireError): void {
    this.#state.set(status, this.#link?.transport?.kind ?? this.#choice.kind, error);
  }

  /** Connects, unless an attempt is in progress. */
  #begin(): void {
    if (this.#link !== undefined || this.#retryTimer !== undefined) return;
    this.#unwatch ??= watchPage({
      awake: () => this.#awake(),
      offline: () => this.#check(),
      hidden: this.#options.onHidden,
    });
    const pauseMs = this.#reconnect.pauseMs(Date.now());
    if (pauseMs > 0) this.#retryTimer = setTimeout(() => this.#connect(false), pauseMs);
    else this.#connect(false);
  }

  #connect(withNewToken: boolean): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const link = new Link();
    this.#link = link;
    this.#options.trace?.connecting();
    this.#setState("connecting", this.state.error);
    for (const result of this.#subscriptions.list) result.advance("attempt");
    this.#open(link, this.#choice.kind, withNewToken);
  }

  #open(link: Link, kind: TransportKind, withNewToken: boolean): void {
    this.#reconnect.attempted(Date.now());
    const isWanted = () => this.#links().includes(link);
    void openLink(link, kind, this.#tokens, withNewToken, this.#options, isWanted, {
      opened: () => {
        link.requests.opened(this.#early.room);
        this.#subscriptions.askAll(link);
      },
      ready: () => this.#ready(link),
      message: (message, scope) => this.#receive(link, message, scope),
      closed: (code, reason, cause) => this.#closed(link, code, reason, cause),
    });
  }

  #ready(link: Link): void {
    link.becameReady();
    this.#subscriptions.askAll(link);
    if (link === this.#link) this.#fences.send(link);
    this.#promote();
  }

  /** Leaves the old connection once the new one has answered every request. */
  #promote(): void {
    const next = this.#next;
    if (next === undefined || !next.isReady || next.asked.size > 0) return;
    const old = this.#link;
    this.#link = next;
    this.#next = undefined;
    old?.end();
    this.#choice.use(next);
    this.#fences.send(next);
    this.#connected(next);
  }

  #connected(link: Link): void {
    if (link !== this.#link || link.greeting === undefined) return;
    this.#options.trace?.message(link.greeting);
    this.#setState("connected");
    this.#upgradeLater(link);
    if (link.isDraining) this.#move();
  }

  #receive(link: Link, message: ServerMessage, scope: string | undefined): void {
    link.heard(message);
    const trace = message.type === "welcome" ? undefined : this.#options.trace;
    if (this.#subscriptions.companion?.receive(link, message)) return;
    const wasInUse = link === this.#link;
    if (wasInUse) trace?.message(message);
    switch (message.type) {
      case "welcome":
        link.welcome(message, Date.now());
        this.#choice.welcomed(link);
        this.#early.welcomed(message);
        this.#reconnect.welcomed(message.reconnect, Date.now());
        this.#renewal.expires(message.expires);
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
        void this.#renewal.renew();
        break;
      case "refreshed":
        this.#refreshing = undefined;
        this.#renewal.expires(message.expires);
        break;
      case "draining":
        this.#draining(link, message.withinMs);
        break;
      case "fenced":
        this.#fences.passed(message.id);
        break;
      default:
        deliver(link, message, scope);
    }
    if (!wasInUse && link === this.#link) trace?.message(message);
  }

  #answered(link: Link, message: Answer, scope: string | undefined): void {
    const subscriptions = this.#subscriptions;
    // Messages of the old connection about a query that the new one has taken over are ignored.
    if (link === this.#link && subscriptions.isServed(message.id, this.#next)) return;
    if (message.type === "subscribed") {
      const others = this.#links().filter((other) => other !== link);
      subscriptions.subscribed(link, message, scope, others);
    } else if (message.type === "unsubscribed") {
      subscriptions.unsubscribed(link, message);
    } else {
      if (message.retryAfterMs !== undefined) this.#reconnect.waitAtLeast(message.retryAfterMs, Date.now());
      if (message.id !== undefined && this.#fences.refused(message.id, message)) return;
      // The old token stays in force until it expires. The application should know why the new one was refused.
      if (message.id === undefined && link === this.#refreshing) {
        this.#refreshing = undefined;
        subscriptions.note(toError(message));
      }
      subscriptions.error(link, message);
    }
    this.#promote();
  }

  #renewed(token: string): void {
    const link = this.#link;
    if (link?.transport?.kind !== "ws") {
      // A stream has one direction, so the new token needs another stream.
      this.#move();
      return;
    }
    this.#refreshing = link;
    link.send({ type: "refresh", token });
  }

  #draining(link: Link, withinMs: number): void {
    this.#reconnect.waitAtLeast(withinMs, Date.now());
    if (!link.drain()) return;
    this.#timers.later(this.#reconnect.momentWithin(withinMs), () => {
      if (link === this.#link) this.#move();
    });
  }

  /** [3.2, draining] Make before break: the next connection is made while this one delivers. */
  #move(kind = this.#choice.kind): void {
    const active = this.#link;
    if (active?.isReady !== true || this.#next !== undefined) return;
    const pauseMs = this.#reconnect.pauseMs(Date.now());
    if (pauseMs > 0) {
      this.#timers.later(pauseMs, () => active === this.#link && this.#move(kind));
      return;
    }
    const link = new Link();
    this.#next = link;
    this.#open(link, kind, false);
  }

  /** Tries the best transport again after a while, if another one is in use. */
  #upgradeLater(link: Link): void {
    const delayMs = this.#choice.upgradeMs();
    if (delayMs === undefined) return;
    this.#timers.later(delayMs, () => {
      if (link === this.#link) this.#move(this.#options.transports[0]);
    });
  }

  #closed(link: Link, code: number, reason: string, cause?: unknown): void {
    if (!this.#links().includes(link)) return;
    const isTooEarly = link.greeting === undefined && this.#early.refused(code, link.requests.wasEarly);
    link.end();
    if (link === this.#next) {
      this.#next = undefined;
      this.#subscriptions.lost(link, this.#links());
      // The current connection still delivers. When it ends, the client connects again.
      const active = this.#link;
      if (active?.isDraining) this.#timers.later(this.#reconnect.nextDelayMs(), () => this.#move());
      else if (active !== undefined) this.#upgradeLater(active);
      return;
    }
    this.#link = this.#next;
    this.#next = undefined;
    this.#subscriptions.lost(link, this.#links());
    if (this.#link !== undefined) {
      // The old connection broke before the new one had answered every request.
      this.#subscriptions.takenOver(this.#link);
      this.#setState("connecting");
      this.#connected(this.#link);
    } else {
      const { lastError } = link;
      const error = lastError === undefined ? endError(code, reason, cause) : toError(lastError);
      if (isTooEarly) this.#options.onRecovering(error);
      this.#comeBack(link, isTooEarly ? BROKEN : code, lastError?.message ?? reason, error);
    }
  }

  #comeBack(link: Link, code: number, reason: string, error: TidewireError): void {
    this.#renewal.stop();
    this.#choice.ended(link);
    const step = this.#reconnect.closed(code, Date.now());
    this.#options.trace?.cut(code, reason, step);
    if (step.action === "stop") {
      this.stop(error);
      return;
    }
    // A connection that worked before is resumed. Only one that has never worked may need the developer's attention.
    if (this.#early.hasBeenWelcomed) this.#options.onRecovering(error);
    this.#mayHurry = code < 4200 && code !== OVERLOADED;
    this.#subscriptions.disconnected(error);
    this.#setState("offline", error);
    this.#retryTimer = setTimeout(() => this.#connect(step.withNewToken), step.delayMs);
  }

  /** The network may be back: connects without further waiting, and checks whether existing connections still work. */
  #awake(): void {
    if (this.#retryTimer === undefined) this.#check();
    else if (this.#mayHurry && this.#reconnect.pauseMs(Date.now()) === 0) this.#connect(false);
  }

  #check(): void {
    for (const link of this.#links()) link.transport?.check();
  }

  #endIfUnused(): void {
    if (this.#subscriptions.areNeeded || this.#stopped !== undefined) return;
    this.#endAll();
    this.#fences.pass();
    this.#setState("idle");
  }

  #endAll(): void {
    clearTimeout(this.#retryTimer);
    this.#timers.clear();
    this.#renewal.stop();
    this.#retryTimer = undefined;
    this.#unwatch?.();
    this.#unwatch = undefined;
    const links = this.#links();
    this.#link = undefined;
    this.#next = undefined;
    for (const link of links) link.end();
  }
}
