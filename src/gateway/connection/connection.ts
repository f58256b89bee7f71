import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Identity } from "../../auth/verify-token.ts";
import type { Account } from "../../feed/account.ts";
import { Limiter } from "../../feed/limiter.ts";
import { type Fault, guarded, noteFault } from "../../metrics/guard.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type {
  ClientMessage,
  ErrorMessage,
  ServerMessage,
  UnsubscribedReason,
  ValueMode,
} from "../../protocol/messages.ts";
import { RuleFailure } from "../../rules/authorize.ts";
import type { GatewayContext } from "../context.ts";
import { sendTickets } from "./answers.ts";
import type { Attachment } from "./attachment.ts";
import { ClientError, internalError, toErrorMessage } from "./client-error.ts";
import { closeCodeLabel } from "./close-code-label.ts";
import { handleFence } from "./handlers/fence.ts";
import { authenticate, handleHello } from "./handlers/hello.ts";
import { handleRefresh } from "./handlers/refresh.ts";
import { handleSubscribe } from "./handlers/subscribe.ts";
import { handleUnsubscribe } from "./handlers/unsubscribe.ts";
import { type Incoming, MalformedMessageError } from "./incoming.ts";
import { Outbox } from "./outbox.ts";
import { checkMessage } from "./parse-message.ts";
import { RateLimit } from "./rate-limit.ts";
import { endFor } from "./reauthorization.ts";
import { type Subscription, Subscriptions } from "./subscriptions.ts";
import { closingRefusal, reasonOf } from "./token-refusal.ts";
import { ToldCursor } from "./told-cursor.ts";
import type { Transport } from "./transport.ts";

const CAUGHT_UP_POLL_MS = 20;

/** So many requests refused at once, or one a second for ever, and the client is taken for one that will not stop. */
const REFUSALS_BURST = 100;
const REFUSALS_PER_SECOND = 1;

/** Tells the client in a way of the transport's own that a request has failed. */
type Refused = (error: ErrorMessage) => void;

/** Makes a connection of the gateway, counted and held to its limits. */
export type OpenConnection = (
  transport: Transport,
  address: string,
  nowMs: number,
  context?: GatewayContext,
) => Connection;

/** Tells the gateway about a connection's life. */
export interface ConnectionEvents {
  /** The client has proved who it is. @returns The account to charge. @throws {ClientError} Over a limit. */
  onIdentified(connection: Connection): Account;
  onClosed(connection: Connection): void;
}

/**
 * One client, whatever the transport: who it is, what it follows, and what waits to be read by it. All messages
 * of the protocol come in through `receive`, and nothing is written for it but through its outbox.
 */
export class Connection {
  readonly id = randomUUID();
  readonly context: GatewayContext;
  readonly transport: Transport;
  readonly outbox: Outbox;
  readonly openedAtMs: number;
  /** The client's address, for limits and the log. */
  readonly address: string;
  readonly subscriptions: Subscriptions;
  readonly snapshotTurns: Limiter;
  values: ValueMode = "json";
  identity: Identity | null = null;
  /** When the token runs out, tolerance included, in epoch milliseconds. */
  deadlineMs = Number.POSITIVE_INFINITY;
  fences = 0;
  readonly told: ToldCursor;
  /** Numbers of the newest token that was sent, and of the one in force. */
  readonly refreshes = { asked: 0, taken: 0 };
  /** A watermark was due while something was still missing. */
  owesWatermark = false;
  readonly #events: ConnectionEvents;
  #account: Account | null = null;
  readonly #requests: RateLimit;
  readonly #refreshes: RateLimit;
  readonly #refusals: RateLimit;
  #state: "new" | "authenticating" | "open" | "closed" = "new";
  #headerAuthenticated = false;
  #helloIsOver = false;
  #pingAtMs: number;
  /** Without a sign of life until then the client is taken for gone. */
  #answerByMs = Number.POSITIVE_INFINITY;
  #noticed = false;
  /** When the tickets that the client has are renewed, as they end with time. */
  #ticketsDueMs: number;
  /** When the next watermark is due. */
  #watermarkAtMs: number;
  #authenticated: Promise<void> = Promise.resolve();

  constructor(
    context: GatewayContext,
    transport: Transport,
    address: string,
    events: ConnectionEvents,
    nowMs: number,
  ) {
    const { limits, server } = context;
    this.context = context;
    this.transport = transport;
    this.address = address;
    this.#events = events;
    this.told = new ToldCursor(context.feed);
    this.outbox = new Outbox(transport, limits.outboxBytes);
    this.subscriptions = new Subscriptions(context.metrics.subscriptions);
    this.snapshotTurns = new Limiter(limits.snapshotsPerConnection);
    this.#requests = new RateLimit(limits.requestsPerSecond, limits.requestBurst, nowMs);
    this.#refreshes = new RateLimit(limits.refreshesPerMinute / 60, limits.refreshBurst, nowMs);
    this.#refusals = new RateLimit(REFUSALS_PER_SECOND, REFUSALS_BURST, nowMs);
    this.#watermarkAtMs = nextWatermark(nowMs, server.heartbeatMs);
    this.openedAtMs = nowMs;
    this.#ticketsDueMs = nowMs + context.ticketTerms.maxAgeMs / 2;
    // The first at a random part of the interval, so that connections made together are not pinged together.
    this.#pingAtMs = nowMs + Math.random() * server.heartbeatMs;
  }

  /** Made when there is something to log, which for most there never is. */
  get log(): Logger {
    return this.context.log.child({ connection: this.id });
  }

  /** The account of the user, who is known from `welcome` on. */
  get account(): Account {
    assert(this.#account !== null, "nobody was welcomed");
    return this.#account;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** A client whose request brought the token may still say, once and before it subscribes, how it wants its values. */
  get mayStillHello(): boolean {
    return this.#headerAuthenticated && !this.#helloIsOver;
  }

  /** When the service will stop pushing, in epoch milliseconds; `null` if never. */
  get expiresAtMs(): number | null {
    return Number.isFinite(this.deadlineMs) ? this.deadlineMs : null;
  }

  /**
   * The request that made the connection says who is there, so that `hello` is optional.
   * @returns Settles when the client is welcomed, or has been refused.
   */
  authenticateByRequest(who: () => Promise<Identity | null>): Promise<void> {
    this.#headerAuthenticated = true;
    this.#authenticated = this.#run(() => authenticate(this, who));
    return this.#authenticated;
  }

  /**
   * Takes one message. A slow one holds up no other.
   * @param refused Where an error that it meets is not to be told by a message, unless it ends the connection.
   */
  receive(incoming: Incoming, nowMs: number, refused?: Refused): void {
    this.heard();
    if (this.#state === "closed") return;
    const early = this.#state !== "open";
    const handle = () => this.#run(() => this.#handle(incoming, nowMs, early, refused), refused);
    if (this.#state !== "authenticating") {
      void handle();
    } else if (this.mayStillHello) {
      // The one message that may wait for the check of a token, so that nothing piles up behind it.
      this.#helloIsOver = true;
      this.#authenticated = this.#authenticated.then(() => {
        this.#helloIsOver = false;
        return handle();
      });
    } else void this.#run(() => Promise.reject(helloFirst()));
  }

  /** Any sign of life. */
  heard(): void {
    this.#answerByMs = Number.POSITIVE_INFINITY;
  }

  /** Begins the check of a token. @throws {ClientError} when it is not the time for one. */
  beginAuthentication(): void {
    if (this.#state !== "new") throw new ClientError("bad-request", "hello comes once, before anything else");
    this.#state = "authenticating";
  }

  /**
   * The client is who it says; from now on it may ask.
   * @throws {TidewireError} A limit of the node is reached, or the token is not trusted any more.
   */
  welcome(identity: Identity | null): void {
    // The one place that every client of every transport passes, in the turn in which its identity takes effect.
    const refusal = identity === null ? null : this.context.trust.refusalOf(identity);
    if (refusal?.code === "unauthenticated") {
      this.context.metrics.connectionsRefused.inc({ reason: `token-${reasonOf(refusal)}` });
      throw closingRefusal(refusal);
    }
    if (refusal !== null) throw refusal;
    this.identity = identity;
    this.#setDeadline(identity);
    this.#account = this.#events.onIdentified(this);
    this.#state = "open";
  }

  /** Takes the claims of a newer token; subscriptions are authorized again under them. */
  replaceIdentity(identity: Identity): void {
    this.identity = identity;
    this.#noticed = false;
    this.#setDeadline(identity);
  }

  send(message: ServerMessage): void {
    if (this.#state === "closed") return;
    this.outbox.send(message);
  }

  sendError(error: unknown, id?: string, refused?: Refused): void {
    this.noteRuleFailure(error);
    const told = toErrorMessage(error, this.log);
    this.context.metrics.errorsSent.inc({ code: told.code });
    const message = id === undefined ? told : { ...told, id };
    if (refused === undefined) this.send(message);
    else if (this.#state !== "closed") this.outbox.answer(() => refused(message));
  }

  /** Reports a rule that could not be evaluated: the client learns no more than that it was refused. */
  noteRuleFailure(error: unknown): void {
    if (!(error instanceof TidewireError) || !(error.cause instanceof RuleFailure)) return;
    this.context.metrics.ruleFailures.inc();
    this.log.error({ err: error.cause }, "a rule could not be evaluated; the user was refused");
  }

  /** "All up to here was delivered": only while nothing is missing anywhere on this connection. */
  sendWatermark(): void {
    this.owesWatermark = true;
    if (!this.#isCaughtUp || !this.context.feed.timeline.isReady) return;
    this.owesWatermark = false;
    this.#watermarkAtMs = nextWatermark(Date.now(), this.context.server.heartbeatMs);
    this.send({ type: "watermark", cursor: this.told.next(this.subscriptions.attachments) });
  }

  /** Nothing is missing on this connection, up to the head of the stream. */
  get #isCaughtUp(): boolean {
    return this.context.feed.timeline.isSettled && !this.subscriptions.isBehind;
  }

  /**
   * Settles when no live query of this connection has anything to make up for.
   * @param then Called in the turn in which that is so.
   * @throws {TidewireError} `unavailable` at `deadlineMs`.
   */
  async caughtUp(deadlineMs: number, then: () => void): Promise<void> {
    while (this.subscriptions.isAsking || !this.#isCaughtUp) {
      if (this.#state === "closed") return;
      if (Date.now() >= deadlineMs) {
        throw new TidewireError("unavailable", "this connection has not caught up in time: try again later");
      }
      await sleep(CAUGHT_UP_POLL_MS);
    }
    then();
  }

  /** Ends a subscription; its live query goes with the last one. */
  endSubscription(subscription: Subscription, reason: UnsubscribedReason): void {
    this.subscriptions.remove(subscription);
    this.send({ type: "unsubscribed", id: subscription.id, reason });
  }

  /** A live query that cannot be kept up, for a reason of its own: its subscriptions end. Never throws. */
  attachmentFailed(attachment: Attachment, error: unknown): void {
    for (const subscription of this.subscriptions.servedBy(attachment))
      endFor(this, subscription, error, "config");
  }

  /** Looks at the clock: heartbeat, expiry, age and stalls. Called for all connections by one timer. */
  tick(nowMs: number, tickMs: number): void {
    if (this.#state === "closed") return;
    const { server, limits, auth } = this.context;
    if (this.outbox.stalledForMs(nowMs) >= limits.stallTimeoutMs) {
      this.log.info("the client reads nothing; its connection is ended");
      this.terminate(CLOSE_CODES.stalled);
      return;
    }
    if (this.#state !== "open") {
      // Once it has come, its token is being checked: that takes as long as fetching a signing key may take.
      if (this.#state === "new" && nowMs - this.openedAtMs >= auth.helloTimeoutMs) {
        this.close(
          CLOSE_CODES.noHello,
          "no hello in time",
          new ClientError("bad-request", "no hello came in time"),
        );
      }
      return;
    }
    if (this.deadlineMs <= nowMs) {
      this.expire();
      return;
    }
    // Sooner than the next look: the exact moment matters here.
    if (this.deadlineMs <= nowMs + tickMs) {
      const expire = this.guarded("connection.expire", () => this.expire());
      setTimeout(expire, this.deadlineMs - nowMs).unref();
    }
    if (!this.#noticed && this.deadlineMs - nowMs <= auth.expiryNoticeMs) {
      this.#noticed = true;
      this.send({ type: "expiring", inMs: Math.max(0, Math.round(this.deadlineMs - nowMs)) });
    }
    const age = server.maxConnectionAgeMs;
    if (age !== undefined && nowMs - this.openedAtMs >= age) {
      const error = new TidewireError(
        "unavailable",
        "the connection has reached its maximum age: resume on another",
        {},
        { retry: "now" },
      );
      this.close(CLOSE_CODES.maximumAge, "connection too old: resume", error);
      return;
    }
    if (nowMs >= this.#ticketsDueMs) {
      this.#ticketsDueMs = nowMs + this.context.ticketTerms.maxAgeMs / 2;
      sendTickets(this);
    }
    this.#beat(nowMs, tickMs);
  }

  /** Closes if the token is not trusted any more: nothing is pushed from here on. */
  closeIfUntrusted(): void {
    if (this.#state !== "open" || this.identity === null) return;
    const refusal = this.context.trust.endOf(this.identity);
    if (refusal === null) return;
    if (refusal.code !== "unauthenticated") {
      this.close(CLOSE_CODES.overloaded, refusal.code, refusal);
      return;
    }
    const error = closingRefusal(refusal);
    this.close(error.closeCode ?? CLOSE_CODES.notAuthenticated, reasonOf(refusal), error);
  }

  /** The token has run out: nothing is pushed any more. */
  expire(): void {
    if (this.#state !== "open" || this.deadlineMs > Date.now()) return;
    const error = new TidewireError("unauthenticated", "the token has expired: get a new one", {
      reason: "expired",
    });
    this.close(CLOSE_CODES.tokenExpired, "token expired", error);
  }

  /** A listener, a timer or an abandoned promise of this connection: an error that nobody expected ends it alone. */
  guarded<A extends readonly unknown[]>(where: string, run: (...args: A) => unknown): (...args: A) => void {
    return guarded(this.context, where, run, (fault) => this.fail(fault));
  }

  /** An error that nobody expected ends this connection alone: with 1011, and the reference under which it was logged. */
  fail({ ref }: Fault): void {
    try {
      this.close(CLOSE_CODES.bug, "internal", internalError(ref));
    } catch (error) {
      // Whatever is broken is of this connection: it ends without a word.
      noteFault(this.context, "connection.close", error);
      if (this.#state !== "closed") this.#end(CLOSE_CODES.bug);
      this.transport.terminate();
    }
  }

  /** Closes in good order: says why, lets what waits be sent, pushes nothing more. */
  close(code: CloseCode, reason: string, error?: unknown): void {
    if (this.#state === "closed") return;
    if (error !== undefined) this.sendError(error);
    this.#end(code);
    this.transport.close(code, reason);
  }

  /** Ends at once, and frees what waited. */
  terminate(code: CloseCode): void {
    if (this.#state === "closed") return;
    this.#end(code);
    this.transport.terminate();
  }

  /** The transport has ended, by whomever. @param code `null` for one of the client's own choosing. */
  transportEnded(code: number | null): void {
    if (this.#state !== "closed") this.#end(code);
  }

  #end(code: number | null): void {
    this.#state = "closed";
    this.outbox.end();
    this.subscriptions.end();
    this.context.metrics.connectionsClosed.inc({ code: closeCodeLabel(code) });
    this.#events.onClosed(this);
  }

  #setDeadline(identity: Identity | null): void {
    const expiresAtMs = identity?.expiresAtMs ?? null;
    this.deadlineMs =
      expiresAtMs === null
        ? Number.POSITIVE_INFINITY
        : expiresAtMs + (this.context.auth.jwt?.clockToleranceMs ?? 0);
  }

  #beat(nowMs: number, tickMs: number): void {
    const { heartbeatMs, pongTimeoutMs } = this.context.server;
    // A ping behind what the client has not read yet can not be answered; the stall timeout judges until then.
    if (this.outbox.bufferedBytes > 0 && this.#answerByMs !== Number.POSITIVE_INFINITY) {
      this.#answerByMs = nowMs + pongTimeoutMs;
    }
    if (nowMs >= this.#answerByMs) {
      const text = "no answer to a ping in time: resume";
      const error = new TidewireError("unavailable", text, {}, { retry: "now" });
      this.close(CLOSE_CODES.noPong, "no sign of life", error);
      return;
    }
    if (nowMs >= this.#pingAtMs) {
      this.#pingAtMs = nowMs + heartbeatMs;
      if (this.transport.ping()) this.#answerByMs = Math.min(this.#answerByMs, nowMs + pongTimeoutMs);
    }
    // At least every heartbeat, whatever else is sent: a quiet query's cursor must not grow old beside a busy one.
    if (nowMs + tickMs > this.#watermarkAtMs) this.sendWatermark();
  }

  async #handle(incoming: Incoming, nowMs: number, early: boolean, refused?: Refused): Promise<void> {
    if (this.#state === "closed") return;
    const message = this.#read(incoming, nowMs);
    this.context.metrics.messagesReceived.inc({ type: message.type });
    if (message.type !== "hello" && early) throw helloFirst();
    try {
      this.#chargeFor(message, incoming.bytes, nowMs);
      const handled = this.#dispatch(message);
      if (!early && (message.type === "hello" || message.type === "subscribe")) this.#helloIsOver = true;
      await handled;
    } catch (error) {
      // Whoever asked under an id is answered under it, whatever went wrong.
      const endsConnection = error instanceof ClientError && error.closeCode !== undefined;
      if (!("id" in message) || endsConnection) throw error;
      if (this.#state === "open") this.sendError(error, message.id, refused);
    }
  }

  #chargeFor(message: ClientMessage, bytes: number, nowMs: number): void {
    // What gives back is never refused.
    const givesBack = message.type === "unsubscribe" && this.subscriptions.has(message.id);
    if (!givesBack) this.#charge(costOf(message, bytes), nowMs);
    if (message.type !== "refresh" || this.#refreshes.take(1, nowMs)) return;
    this.context.metrics.limitHits.inc({ limit: "refreshesPerMinute", outcome: "refused" });
    const value = this.context.limits.refreshesPerMinute;
    throw new TidewireError(
      "too-many-requests",
      `more than ${value} refreshes a minute: slow down`,
      { limit: "refreshesPerMinute", value },
      { retryAfterMs: this.#refreshes.waitMs(1) },
    );
  }

  #read(incoming: Incoming, nowMs: number): ClientMessage {
    try {
      if (!("unread" in incoming)) return checkMessage(incoming.fields);
      this.context.metrics.messagesUnread.inc({ reason: incoming.unread });
      throw incoming.error;
    } catch (error) {
      // To be told what is wrong costs as much as to be served.
      if (error instanceof TidewireError && this.#state === "open") this.#charge(1, nowMs, idOfError(error));
      throw error;
    }
  }

  async #dispatch(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case "hello":
        return handleHello(this, message);
      case "subscribe":
        return handleSubscribe(this, message);
      case "unsubscribe":
        return handleUnsubscribe(this, message);
      case "refresh":
        return handleRefresh(this, message);
      case "fence":
        return handleFence(this, message);
      case "ping":
        return this.send({ type: "pong", ...(message.nonce === undefined ? {} : { nonce: message.nonce }) });
    }
  }

  #charge(cost: number, nowMs: number, id?: string): void {
    if (this.#requests.take(cost, nowMs)) return;
    const { requestsPerSecond } = this.context.limits;
    const text = `more than ${requestsPerSecond} requests a second: slow down`;
    const limit = { limit: "requestsPerSecond", value: requestsPerSecond };
    const details = id === undefined ? limit : { ...limit, id };
    const extras = { details, retryAfterMs: this.#requests.waitMs(cost) };
    // The first offence is an error; whoever goes on is shown the door.
    const closeCode = this.#refusals.take(1, nowMs) ? undefined : CLOSE_CODES.abuse;
    throw new ClientError("too-many-requests", text, closeCode, extras);
  }

  /** Whatever a handler throws becomes an answer, and where it says so, the end of the connection. */
  async #run(work: () => Promise<void>, refused?: Refused): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.guarded("connection.answer", () => this.#answerFailure(error, refused))();
    }
  }

  #answerFailure(error: unknown, refused?: Refused): void {
    if (this.#state === "closed") return;
    if (error instanceof MalformedMessageError) {
      this.close(
        CLOSE_CODES.malformedMessage,
        "malformed message",
        new ClientError("bad-request", error.message),
      );
    } else if (error instanceof ClientError && error.closeCode !== undefined) {
      this.close(error.closeCode, error.code, error);
    } else if (this.#state === "open") this.sendError(error, idOfError(error), refused);
    else this.#refuseHello(error);
  }

  /** Nobody has been welcomed, so there is nothing to go on with. */
  #refuseHello(error: unknown): void {
    if (!(error instanceof TidewireError)) this.close(CLOSE_CODES.bug, "internal", error);
    else if (error.retry === "later") this.close(CLOSE_CODES.overloaded, error.code, error);
    else this.close(CLOSE_CODES.malformedMessage, "the first message must be hello", error);
  }
}

const helloFirst = () =>
  new ClientError(
    "bad-request",
    "hello comes first, then welcome, then all else",
    CLOSE_CODES.malformedMessage,
  );

/** Within a heartbeat, and not for all who came together at the same time. */
const nextWatermark = (nowMs: number, heartbeatMs: number) =>
  nowMs + heartbeatMs * (0.75 + Math.random() / 4);

/** The `id` of the message that failed, where its error knows it. */
function idOfError(error: unknown): string | undefined {
  const id = error instanceof TidewireError ? error.details["id"] : undefined;
  return typeof id === "string" ? id : undefined;
}

/** What a message costs against the rate limit: large filters are work to check and to keep. */
function costOf(message: ClientMessage, bytes: number): number {
  if (message.type !== "subscribe" || message.filter === undefined) return 1;
  return 1 + Math.floor(bytes / 1_024);
}
