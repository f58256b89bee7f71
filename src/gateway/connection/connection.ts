/**
 * One client of the service. The connection ties the parts together and owns the end of their life: whatever fails in
 * one part ends this connection and no other.
 */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { toleranceOf } from "../../auth/options.ts";
import type { Identity } from "../../auth/verify-token.ts";
import type { Account } from "../../feed/account.ts";
import { type Fault, guarded, noteFault } from "../../metrics/guard.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import type { GatewayContext } from "../context.ts";
import type { Attachment } from "./attachment.ts";
import { internalError, toErrorMessage } from "./client-error.ts";
import { closeCodeLabel } from "./close-code-label.ts";
import { endFor, noteRuleFailure } from "./end-subscription.ts";
import { Login } from "./login.ts";
import { Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { Subscriptions } from "./subscriptions.ts";
import { closingRefusal, reasonOf } from "./token-refusal.ts";
import type { Transport } from "./transport.ts";

/** Reports a failed request to the client in the transport's own way. */
export type Refused = (error: ErrorMessage) => void;

/** Events in the life of a connection, for the gateway. */
export interface ConnectionEvents {
  /**
   * The client was authenticated.
   * @returns The account to charge.
   * @throws {ClientError} A limit is exceeded.
   */
  onIdentified(connection: Connection, identity: Identity | null): Account;
  onClosed(connection: Connection): void;
}

/**
 * One client, whatever its transport: its identity, its subscriptions, and the data that waits for it. Nothing is
 * written to the client except through its outbox. Messages of the client arrive at an `Inbox`, and a `ConnectionClock`
 * keeps its deadlines.
 */
export class Connection {
  readonly id = randomUUID();
  readonly context: GatewayContext;
  /** The client's address, for limits and the log. */
  readonly address: string;
  readonly login: Login;
  readonly outbox: Outbox;
  readonly subscriptions: Subscriptions;
  readonly progress: Progress;
  readonly #transport: Transport;
  readonly #events: ConnectionEvents;
  #isClosed = false;

  constructor(
    context: GatewayContext,
    transport: Transport,
    address: string,
    events: ConnectionEvents,
    nowMs: number,
  ) {
    const { limits, auth, metrics } = context;
    this.context = context;
    this.address = address;
    this.login = new Login(toleranceOf(auth.jwt));
    this.outbox = new Outbox(transport, limits.outboxBytes, context);
    this.subscriptions = new Subscriptions(metrics, limits.snapshotsPerConnection);
    this.progress = new Progress(context, this.subscriptions, this.outbox, nowMs);
    this.#transport = transport;
    this.#events = events;
  }

  /** Created on each use, because most connections never log anything. */
  get log(): Logger {
    return this.context.log.child({ connection: this.id });
  }

  /** `null` for an anonymous client, and before `welcome`. */
  get identity(): Identity | null {
    return this.login.identity;
  }

  /** Whether the client was welcomed and has not left. */
  get isOpen(): boolean {
    return this.login.isWelcomed && !this.#isClosed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Accepts the client as the user of a verified token. From now on it may send requests.
   * @throws {TidewireError} A limit of the node is reached, or the token is no longer trusted.
   */
  welcome(identity: Identity | null): void {
    // Every client of every transport passes this check, in the turn in which its identity takes effect.
    const { trust, metrics, refusals, log } = this.context;
    const refusal = identity === null ? null : trust.refusalOf(identity);
    if (refusal?.code === "unauthenticated") {
      refusals.note(`token-${reasonOf(refusal)}`, { address: this.address });
      throw closingRefusal(refusal);
    }
    if (refusal !== null) throw refusal;
    this.login.welcome(identity, this.#events.onIdentified(this, identity));
    metrics.connectionsOpened.inc({ transport: this.#transport.kind });
    log[this.#logLevel](
      { ...this.#who, transport: this.#transport.kind, client: this.login.client },
      "client connected",
    );
  }

  send(message: ServerMessage): void {
    if (!this.#isClosed) this.outbox.send(message);
  }

  /**
   * Sends an error to the client.
   * @param refused Reports the error instead of a message, if the transport has its own way.
   */
  sendError(error: unknown, id?: string, refused?: Refused): void {
    noteRuleFailure(this, error);
    const answer = toErrorMessage(error, this.log);
    this.context.metrics.errorsSent.inc({ code: answer.code });
    const message = id === undefined ? answer : { ...answer, id };
    if (refused === undefined) this.send(message);
    else if (!this.#isClosed) this.outbox.answer(() => refused(message));
  }

  /** A live query cannot be kept up to date, for a reason of its own, so its subscriptions end. Never throws. */
  attachmentFailed(attachment: Pick<Attachment, "ids">, error: unknown): void {
    for (const subscription of this.subscriptions.servedBy(attachment))
      endFor(this, subscription, error, "config");
  }

  /**
   * Wraps a listener, a timer or an abandoned promise of this connection. An unexpected error ends this connection
   * alone.
   */
  guarded<A extends readonly unknown[]>(where: string, run: (...args: A) => unknown): (...args: A) => void {
    return guarded(this.context, where, run, (fault) => this.fail(fault));
  }

  /** Ends this connection after an unexpected error, with 1011 and the reference under which it was logged. */
  fail({ ref }: Fault): void {
    try {
      this.close(CLOSE_CODES.bug, "internal", internalError(ref));
    } catch (error) {
      // Only this connection is broken, so it ends without a message.
      noteFault(this.context, "connection.close", error);
      if (!this.#isClosed) this.#end(CLOSE_CODES.bug);
      this.#transport.terminate();
    }
  }

  /** Closes in good order: sends the reason, lets waiting data be sent, and pushes nothing more. */
  close(code: CloseCode, reason: string, error?: unknown): void {
    if (this.#isClosed) return;
    if (error !== undefined) this.sendError(error);
    this.#end(code);
    this.#transport.close(code, reason);
  }

  /** Ends at once, and frees waiting data. */
  terminate(code: CloseCode): void {
    if (this.#isClosed) return;
    this.#end(code);
    this.#transport.terminate();
  }

  /**
   * The transport has ended, on either side.
   * @param code `null` for a code that the client chose.
   */
  transportEnded(code: number | null): void {
    if (!this.#isClosed) this.#end(code);
  }

  /** The user and the address for the log, which never contains a token. */
  get #who(): Readonly<Record<string, unknown>> {
    return { connection: this.id, user: this.identity?.sub ?? null, address: this.address };
  }

  /** Each poll and each push registration is a connection of its own. At `info` they would fill the log. */
  get #logLevel(): "info" | "debug" {
    const { kind } = this.#transport;
    return kind === "poll" || kind === "push" ? "debug" : "info";
  }

  #end(code: number | null): void {
    this.#isClosed = true;
    this.outbox.end();
    this.subscriptions.end();
    this.progress.end();
    this.context.presence?.ended(this, code === CLOSE_CODES.keyUnknown || code === CLOSE_CODES.tokenRevoked);
    this.context.metrics.connectionsClosed.inc({ code: closeCodeLabel(code) });
    if (this.login.isWelcomed) {
      const seconds = Math.round((Date.now() - (this.login.welcomedAtMs ?? Date.now())) / 1_000);
      this.context.log[this.#logLevel]({ ...this.#who, code, seconds }, "client left");
    }
    this.#events.onClosed(this);
  }
}
