/**
 * The way in for messages. The inbox enforces the order (`hello` first), the rate limits and the format in one place,
 * for all transports, before any handler runs.
 */
import type { Identity } from "../../auth/verify-token.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ClientMessage, ServerMessage, ValueMode } from "../../protocol/messages.ts";
import type { GatewayContext } from "../context.ts";
import { ClientError } from "./client-error.ts";
import type { Refused } from "./connection.ts";
import type { ConnectionClock } from "./connection-clock.ts";
import { type Arrived, EarlyMessages } from "./early-messages.ts";
import { handleEnter, handleLeave } from "./handlers/enter.ts";
import { type FenceHost, handleFence } from "./handlers/fence.ts";
import { authenticate, type HelloHost, handleHello } from "./handlers/hello.ts";
import { handleRefresh, type RefreshHost } from "./handlers/refresh.ts";
import { handleSubscribe } from "./handlers/subscribe.ts";
import { handleUnsubscribe } from "./handlers/unsubscribe.ts";
import { type Incoming, MalformedMessageError } from "./incoming.ts";
import type { Login } from "./login.ts";
import { checkMessage } from "./parse-message.ts";
import { RequestRates } from "./request-rates.ts";

/**
 * The parts of a connection that its messages need: those of every handler, and the ways to report an error. The inbox
 * cannot use the transport, and the outbox only through a handler.
 */
export interface InboxHost extends HelloHost, RefreshHost {
  readonly context: GatewayContext;
  readonly isClosed: boolean;
  readonly address: string;
  readonly login: HelloHost["login"] & RefreshHost["login"] & Pick<Login, "isChecking">;
  readonly progress: FenceHost["progress"] & RefreshHost["progress"];
  send(message: ServerMessage): void;
  sendError(error: unknown, id?: string, refused?: Refused): void;
  close(code: CloseCode, reason: string, error?: unknown): void;
  guarded(where: string, run: () => unknown): () => void;
}

/**
 * The messages of one client. Each is checked for order and rate, and passed to its handler. An error of a handler
 * becomes an answer or, if the error says so, the end of the connection.
 */
export class Inbox {
  readonly #connection: InboxHost;
  readonly #clock: Pick<ConnectionClock, "heard">;
  readonly #rates: RequestRates;
  /** Created for the first early message. */
  #early: EarlyMessages | null = null;
  #isAuthenticatedByRequest = false;
  #helloIsOver = false;

  constructor(connection: InboxHost, clock: Pick<ConnectionClock, "heard">, nowMs: number) {
    this.#connection = connection;
    this.#clock = clock;
    this.#rates = new RequestRates(connection.context, nowMs);
  }

  /** The client has shown a sign of life. */
  heard(): void {
    this.#clock.heard();
  }

  /**
   * Authenticates by the request that opened the connection, so that `hello` is optional.
   * @param values The form of values that the request asks for, if any.
   * @returns Settles when the client is welcomed or refused.
   */
  authenticateByRequest(who: () => Promise<Identity | null>, values?: ValueMode): Promise<void> {
    this.#isAuthenticatedByRequest = true;
    this.#connection.login.wantValues(values);
    return this.#handleEarlyAfter(this.#run(() => authenticate(this.#connection, who)));
  }

  /**
   * Takes one message. A slow message delays no other one, except that messages wait in order for the check of the
   * first token.
   * @param refused Reports an error of the message instead of an `error` message, unless the error ends the connection.
   * @param gone Aborted when the client no longer waits for the answer to a fence.
   */
  receive(incoming: Incoming, nowMs: number, refused?: Refused, gone?: AbortSignal): void {
    this.heard();
    const connection = this.#connection;
    if (connection.isClosed) return;
    const message: Arrived = { incoming, atMs: nowMs, refused, gone };
    if (connection.login.isChecking || this.#early?.areWaiting === true) {
      void this.#run(() => this.#wait(message));
      return;
    }
    const handled = this.#run(() => this.#handle(message), refused);
    // The message was the `hello` of the connection.
    if (connection.login.isChecking) void this.#run(() => this.#handleEarlyAfter(handled));
  }

  #wait(message: Arrived): void {
    this.#early ??= new EarlyMessages(this.#connection.context);
    this.#early.add(message);
  }

  /** [3.1] Messages that arrived during the check of a token are handled as if they had arrived after `welcome`. */
  async #handleEarlyAfter(checked: Promise<void>): Promise<void> {
    await checked;
    const messages = this.#early?.take() ?? [];
    this.#early = null;
    if (!this.#connection.isOpen) return;
    for (const message of messages) {
      void this.#run(() => this.#handle(message), message.refused);
    }
  }

  /**
   * A client whose request carried the token may still send `hello`, once and before it subscribes, to choose `values`.
   */
  get #mayStillHello(): boolean {
    return this.#isAuthenticatedByRequest && !this.#helloIsOver;
  }

  async #handle({ incoming, atMs: nowMs, refused, gone }: Arrived): Promise<void> {
    const connection = this.#connection;
    if (connection.isClosed) return;
    const isFirst = !connection.isOpen;
    const message = this.#read(incoming, nowMs);
    connection.context.metrics.messagesReceived.inc({ type: message.type });
    if (message.type !== "hello" && isFirst) throw helloFirst();
    try {
      // A message that frees resources is never refused.
      const givesBack =
        (message.type === "unsubscribe" && connection.subscriptions.has(message.id)) ||
        (message.type === "leave" && connection.context.presence?.has(connection, message.id) === true);
      if (!givesBack)
        this.#rates.charge(message, incoming.bytes, isFirst ? null : connection.login.account, nowMs);
      const handled = this.#dispatch(message, gone);
      if (!isFirst && (message.type === "hello" || message.type === "subscribe")) this.#helloIsOver = true;
      await handled;
    } catch (error) {
      // A request with an id is answered under that id, whatever failed.
      const endsConnection = error instanceof ClientError && error.closeCode !== undefined;
      if (!("id" in message) || endsConnection) throw error;
      if (connection.isOpen) connection.sendError(error, message.id, refused);
    }
  }

  #read(incoming: Incoming, nowMs: number): ClientMessage {
    try {
      if (!("unread" in incoming)) return checkMessage(incoming.fields);
      this.#connection.context.metrics.messagesUnread.inc({ reason: incoming.unread });
      throw incoming.error;
    } catch (error) {
      const { isOpen, login } = this.#connection;
      if (error instanceof TidewireError && isOpen)
        this.#rates.chargeRefused(incoming.bytes, login.account, nowMs, idOfError(error));
      throw error;
    }
  }

  async #dispatch(message: ClientMessage, gone: AbortSignal | undefined): Promise<void> {
    const connection = this.#connection;
    switch (message.type) {
      case "hello":
        return handleHello(connection, message, this.#mayStillHello);
      case "subscribe":
        return handleSubscribe(connection, message);
      case "unsubscribe":
        return handleUnsubscribe(connection, message);
      case "refresh":
        return handleRefresh(connection, message, () =>
          this.#rates.chargeChange(connection.login.account, Date.now()),
        );
      case "fence":
        return handleFence(connection, message, gone);
      case "enter":
        return handleEnter(connection, message);
      case "leave":
        return handleLeave(connection, message);
      case "ping":
        return connection.send({
          type: "pong",
          ...(message.nonce === undefined ? {} : { nonce: message.nonce }),
        });
    }
  }

  /** Runs a handler. An error becomes an answer and, if the error says so, the end of the connection. */
  async #run(work: () => Promise<void> | void, refused?: Refused): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#connection.guarded("connection.answer", () => this.#answerFailure(error, refused))();
    }
  }

  #answerFailure(error: unknown, refused?: Refused): void {
    const connection = this.#connection;
    if (connection.isClosed) return;
    if (error instanceof MalformedMessageError) {
      const refusal = new ClientError("bad-request", error.message);
      connection.close(CLOSE_CODES.malformedMessage, "malformed message", refusal);
    } else if (error instanceof ClientError && error.closeCode !== undefined) {
      connection.close(error.closeCode, error.code, error);
    } else if (connection.isOpen) connection.sendError(error, idOfError(error), refused);
    else refuseHello(connection, error);
  }
}

/** Refuses a client that was not welcomed. The connection has no further use, so it is closed. */
function refuseHello(connection: Pick<InboxHost, "close">, error: unknown): void {
  if (!(error instanceof TidewireError)) connection.close(CLOSE_CODES.bug, "internal", error);
  else if (error.retry === "later") connection.close(CLOSE_CODES.overloaded, error.code, error);
  else connection.close(CLOSE_CODES.malformedMessage, "the first message must be hello", error);
}

const helloFirst = () =>
  new ClientError("bad-request", "the first message is hello", CLOSE_CODES.malformedMessage);

/** The `id` of the message that failed, if its error contains it. */
function idOfError(error: unknown): string | undefined {
  const id = error instanceof TidewireError ? error.details["id"] : undefined;
  return typeof id === "string" ? id : undefined;
}
