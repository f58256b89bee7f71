/**
 * The deadlines of a connection. One timer visits all connections instead of several timers for each, because with
 * 100,000 connections timers alone would cost noticeable memory and time.
 */
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import { sendTickets } from "./answers.ts";
import { ClientError } from "./client-error.ts";
import type { Connection } from "./connection.ts";
import { closeIfExpired } from "./token-end.ts";

/** A visit of all connections. All times are in milliseconds. */
export interface Tick {
  readonly nowMs: number;
  /**
   * Everything that had arrived by this time has been read. A process that was busy or frozen finds the messages of its
   * clients after its timers, so a client counts as silent only if its deadline had passed at this earlier time.
   */
  readonly readMs: number;
  /** The time between two visits. */
  readonly everyMs: number;
}

/** The deadlines of one connection: `hello`, heartbeat, expiry, age, stalls, and the renewal of tickets. */
export class ConnectionClock {
  readonly connection: Connection;
  readonly #openedAtMs: number;
  #pingAtMs: number;
  /** Without a sign of life by this time, the client counts as gone. */
  #answerByMs = Number.POSITIVE_INFINITY;
  /** When the client's tickets are renewed, because tickets expire. */
  #ticketsDueMs: number;

  constructor(connection: Connection, nowMs: number) {
    const { server, ticketTerms } = connection.context;
    this.connection = connection;
    this.#openedAtMs = nowMs;
    this.#ticketsDueMs = nowMs + ticketTerms.maxAgeMs / 2;
    // The first ping comes at a random part of the interval, so that connections opened together are not pinged
    // together.
    this.#pingAtMs = nowMs + Math.random() * server.heartbeatMs;
  }

  /** The client has shown a sign of life. */
  heard(): void {
    this.#answerByMs = Number.POSITIVE_INFINITY;
  }

  /** Acts on every deadline that has passed. One timer calls it for all connections. */
  tick(tick: Tick): void {
    const { connection } = this;
    const { nowMs, readMs } = tick;
    if (connection.isClosed) return;
    if (connection.outbox.stalledForMs(nowMs, readMs) >= connection.context.limits.stallTimeoutMs) {
      connection.log.info("the client does not read; closing its connection");
      connection.terminate(CLOSE_CODES.stalled);
      return;
    }
    if (!connection.isOpen) {
      this.#checkHello(tick);
      return;
    }
    this.#checkToken(tick);
    if (!connection.isClosed) this.#checkAge(nowMs);
    if (connection.isClosed) return;
    if (nowMs >= this.#ticketsDueMs) {
      this.#ticketsDueMs = nowMs + connection.context.ticketTerms.maxAgeMs / 2;
      sendTickets(connection);
    }
    this.#beat(tick);
  }

  /** A token that is being checked may wait for the signing keys, which has its own limit. */
  #checkHello({ readMs }: Tick): void {
    const { login, context } = this.connection;
    if (!login.isAwaited || readMs - this.#openedAtMs < context.auth.helloTimeoutMs) return;
    const error = new ClientError("bad-request", "no hello arrived in time");
    this.connection.close(CLOSE_CODES.noHello, "no hello in time", error);
  }

  #checkToken({ nowMs, everyMs }: Tick): void {
    const { connection } = this;
    const { login, context } = connection;
    if (login.deadlineMs <= nowMs) {
      closeIfExpired(connection);
      return;
    }
    // The deadline is before the next tick, and the exact moment matters, so this one gets a timer.
    if (login.deadlineMs <= nowMs + everyMs) {
      const expire = connection.guarded("connection.expire", () => closeIfExpired(connection));
      setTimeout(expire, login.deadlineMs - nowMs).unref();
    }
    if (login.takeNotice(nowMs, context.auth.expiryNoticeMs)) {
      connection.send({ type: "expiring", inMs: Math.max(0, Math.round(login.deadlineMs - nowMs)) });
    }
  }

  #checkAge(nowMs: number): void {
    const { maxConnectionAgeMs } = this.connection.context.server;
    if (maxConnectionAgeMs === undefined || nowMs - this.#openedAtMs < maxConnectionAgeMs) return;
    const text = "the connection has reached its maximum age: resume on another";
    const error = new TidewireError("unavailable", text, {}, { retry: "now" });
    this.connection.close(CLOSE_CODES.maximumAge, "connection too old: resume", error);
  }

  #beat({ nowMs, readMs, everyMs }: Tick): void {
    const { outbox, progress, context } = this.connection;
    const { heartbeatMs, pongTimeoutMs } = context.server;
    // A client cannot answer a ping that is queued behind unread data. The stall timeout covers that case.
    if (outbox.bufferedBytes > 0 && this.#answerByMs !== Number.POSITIVE_INFINITY) {
      this.#answerByMs = nowMs + pongTimeoutMs;
    }
    if (readMs >= this.#answerByMs) {
      const text = "no answer to a ping in time: resume";
      const error = new TidewireError("unavailable", text, {}, { retry: "now" });
      this.connection.close(CLOSE_CODES.noPong, "no sign of life", error);
      return;
    }
    if (nowMs >= this.#pingAtMs) {
      this.#pingAtMs = nowMs + heartbeatMs;
      if (outbox.ping()) this.#answerByMs = Math.min(this.#answerByMs, nowMs + pongTimeoutMs);
    }
    // At least once per heartbeat, whatever else is sent: the cursor of a quiet query must not grow old beside a busy
    // one.
    progress.sendWatermarkIfDue(nowMs, everyMs);
  }
}
