import type { Identity } from "../../auth/verify-token.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ClientMessage, ValueMode } from "../../protocol/messages.ts";
import { ClientError } from "./client-error.ts";
import type { Connection, Refused } from "./connection.ts";
import type { ConnectionClock } from "./connection-clock.ts";
import { handleFence } from "./handlers/fence.ts";
import { authenticate, handleHello } from "./handlers/hello.ts";
import { handleRefresh } from "./handlers/refresh.ts";
import { handleSubscribe } from "./handlers/subscribe.ts";
import { handleUnsubscribe } from "./handlers/unsubscribe.ts";
import { type Incoming, MalformedMessageError } from "./incoming.ts";
import { checkMessage } from "./parse-message.ts";
import { RequestRates } from "./request-rates.ts";

/**
 * The messages of one client: each is held to its order and to the rate limits, and handed to its handler. An error
 * of a handler becomes an answer or, where the error says so, the end of the connection.
 */
export class Inbox {
  readonly #connection: Connection;
  readonly #clock: ConnectionClock;
  readonly #rates: RequestRates;
  #isAuthenticatedByRequest = false;
  #helloIsOver = false;
  #authenticated: Promise<void> = Promise.resolve();

  constructor(connection: Connection, clock: ConnectionClock, nowMs: number) {
    this.#connection = connection;
    this.#clock = clock;
    this.#rates = new RequestRates(connection.context, nowMs);
  }

  /** The client has shown any sign of life. */
  heard(): void {
    this.#clock.heard();
  }

  /**
   * Authenticates by the request that made the connection, so that `hello` is optional.
   * @param values The form in which the request asks for values, if it names one.
   * @returns Settles when the client is welcomed, or has been refused.
   */
  authenticateByRequest(who: () => Promise<Identity | null>, values?: ValueMode): Promise<void> {
    this.#isAuthenticatedByRequest = true;
    this.#connection.login.wantValues(values);
    this.#authenticated = this.#run(() => authenticate(this.#connection, who));
    return this.#authenticated;
  }

  /**
   * Takes one message. A slow one holds up no other.
   * @param refused Reports an error of the message instead of an `error` message, unless it ends the connection.
   */
  receive(incoming: Incoming, nowMs: number, refused?: Refused): void {
    this.heard();
    const connection = this.#connection;
    if (connection.isClosed) return;
    const early = !connection.isOpen;
    const handle = () => this.#run(() => this.#handle(incoming, nowMs, early, refused), refused);
    if (!connection.login.isChecking) {
      void handle();
    } else if (this.#mayStillHello) {
      // Only this one message may wait for the check of a token, so that no queue of messages builds up.
      this.#helloIsOver = true;
      this.#authenticated = this.#authenticated.then(() => {
        this.#helloIsOver = false;
        return handle();
      });
    } else void this.#run(() => Promise.reject(helloFirst()));
  }

  /** A client whose request brought the token may still send `hello`, once and before it subscribes, for `values`. */
  get #mayStillHello(): boolean {
    return this.#isAuthenticatedByRequest && !this.#helloIsOver;
  }

  async #handle(incoming: Incoming, nowMs: number, early: boolean, refused?: Refused): Promise<void> {
    const connection = this.#connection;
    if (connection.isClosed) return;
    const message = this.#read(incoming, nowMs);
    connection.context.metrics.messagesReceived.inc({ type: message.type });
    if (message.type !== "hello" && early) throw helloFirst();
    try {
      // A message that gives something back is never refused.
      const givesBack = message.type === "unsubscribe" && connection.subscriptions.has(message.id);
      if (!givesBack) this.#rates.charge(message, incoming.bytes, nowMs);
      const handled = this.#dispatch(message);
      if (!early && (message.type === "hello" || message.type === "subscribe")) this.#helloIsOver = true;
      await handled;
    } catch (error) {
      // A request with an id is answered under that id, whatever went wrong.
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
      // A refused message costs as much as a served one.
      if (error instanceof TidewireError && this.#connection.isOpen)
        this.#rates.chargeOne(nowMs, idOfError(error));
      throw error;
    }
  }

  async #dispatch(message: ClientMessage): Promise<void> {
    const connection = this.#connection;
    switch (message.type) {
      case "hello":
        return handleHello(connection, message, this.#mayStillHello);
      case "subscribe":
        return handleSubscribe(connection, message);
      case "unsubscribe":
        return handleUnsubscribe(connection, message);
      case "refresh":
        return handleRefresh(connection, message);
      case "fence":
        return handleFence(connection, message);
      case "ping":
        return connection.send({
          type: "pong",
          ...(message.nonce === undefined ? {} : { nonce: message.nonce }),
        });
    }
  }

  /** Runs a handler: an error becomes an answer and, where the error says so, the end of the connection. */
  async #run(work: () => Promise<void>, refused?: Refused): Promise<void> {
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

/** The client was not welcomed, so the connection has no further use. */
function refuseHello(connection: Connection, error: unknown): void {
  if (!(error instanceof TidewireError)) connection.close(CLOSE_CODES.bug, "internal", error);
  else if (error.retry === "later") connection.close(CLOSE_CODES.overloaded, error.code, error);
  else connection.close(CLOSE_CODES.malformedMessage, "the first message must be hello", error);
}

const helloFirst = () =>
  new ClientError(
    "bad-request",
    "the first message is hello; wait for welcome before you send another one",
    CLOSE_CODES.malformedMessage,
  );

/** The `id` of the message that failed, where its error knows it. */
function idOfError(error: unknown): string | undefined {
  const id = error instanceof TidewireError ? error.details["id"] : undefined;
  return typeof id === "string" ? id : undefined;
}
