/**
 * Decides when and how a client reconnects. After an outage all clients want to reconnect at once, so the delays are
 * random; and a client must not retry for ever what can never succeed.
 */
import type { ReconnectAdvice } from "../protocol/messages.ts";

/** The reaction to the end of a connection (docs/protocol.md, section 5). */
export type CloseAction = "back-off" | "token" | "wait" | "stop";

/**
 * Codes of RFC 6455 after which another attempt would fail in the same way, because of a mistake of the client or a
 * bug.
 */
const HOPELESS: readonly number[] = [1002, 1003, 1007, 1008, 1009, 1010, 1011];

/** By the hundreds of a code, so that a client understands codes that are newer than it is. */
const ACTIONS: Readonly<Record<number, CloseAction>> = { 41: "token", 42: "wait", 44: "stop" };

export const actionFor = (code: number): CloseAction =>
  HOPELESS.includes(code) ? "stop" : (ACTIONS[Math.floor(code / 100)] ?? "back-off");

/** Used until a `welcome` contains other values. */
export const FIRST_ADVICE: ReconnectAdvice = { minMs: 250, maxMs: 30_000, factor: 2, stableAfterMs: 5_000 };

/** How many tokens are tried without a `welcome` between them. */
export const TOKEN_ATTEMPTS_MAX = 3;

const MOVE_SHARE = 0.8;
const MINUTE_MS = 60_000;
/** Full jitter alone has no bound: several small random delays in a row would hammer a service that refuses. */
const ATTEMPTS_PER_MINUTE = 12;

/** Settings of an application that replace the advice of the service. */
export interface ReconnectOptions extends Partial<ReconnectAdvice> {
  /** The most connection attempts within any minute, whatever the back-off is. Default: 12. */
  readonly attemptsPerMinute?: number;
}

/** The next step after a connection has ended. */
export type NextStep =
  | { readonly action: "stop" }
  | { readonly action: "connect"; readonly delayMs: number; readonly withNewToken: boolean };

/**
 * When and how to reconnect. Delays have full jitter, so that clients that were cut off together do not return
 * together. It is pure apart from its memory: the clock and the random numbers are arguments.
 */
export class Reconnect {
  readonly #random: () => number;
  readonly #options: ReconnectOptions;
  readonly #attemptsMax: number;
  #advice: ReconnectAdvice;
  #failures = 0;
  #tokenAttempts = 0;
  /** `NaN` without a welcomed connection. */
  #welcomedAtMs = Number.NaN;
  /** The service asked for no attempt before this time, in epoch milliseconds. */
  #notBeforeMs = 0;
  /** When the connection attempts of the last minute began. */
  #attempts: number[] = [];

  constructor(random: () => number, options: ReconnectOptions = {}) {
    this.#random = random;
    this.#options = options;
    this.#attemptsMax = options.attemptsPerMinute ?? ATTEMPTS_PER_MINUTE;
    this.#advice = { ...FIRST_ADVICE, ...options };
  }

  /** A connection attempt begins. */
  attempted(nowMs = Date.now()): void {
    if (this.#attempts.push(nowMs) > this.#attemptsMax) this.#attempts.shift();
  }

  /** A connection was welcomed. It must last for a while before the back-off starts over. */
  welcomed(advice: ReconnectAdvice, nowMs = Date.now()): void {
    this.#advice = { ...advice, ...this.#options };
    this.#welcomedAtMs = nowMs;
    this.#tokenAttempts = 0;
    this.#notBeforeMs = 0;
  }

  /** The application wants another attempt. */
  restart(): void {
    this.#failures = 0;
    this.#tokenAttempts = 0;
    this.#notBeforeMs = 0;
  }

  /** The service has named a time to wait, by `draining` or `retryAfterMs`. */
  waitAtLeast(waitMs: number, nowMs = Date.now()): void {
    this.#notBeforeMs = nowMs + waitMs;
  }

  /** A random moment within the time of a draining node, early enough to finish before its end. */
  momentWithin(withinMs: number): number {
    return this.#random() * withinMs * MOVE_SHARE;
  }

  /** The next delay of the back-off, for a connection that has ended or a request that is to be repeated. */
  nextDelayMs(): number {
    const { minMs, maxMs, factor } = this.#advice;
    return this.#random() * Math.min(maxMs, minMs * factor ** this.#failures++);
  }

  /** How long the next connection must wait at least, so that the limit per minute holds. */
  pauseMs(nowMs = Date.now()): number {
    const first = this.#attempts[this.#attempts.length - this.#attemptsMax];
    return first === undefined ? 0 : Math.max(0, first + MINUTE_MS - nowMs);
  }

  closed(code: number, nowMs = Date.now()): NextStep {
    if (nowMs - this.#welcomedAtMs >= this.#advice.stableAfterMs) this.#failures = 0;
    this.#welcomedAtMs = Number.NaN;
    const action = actionFor(code);
    const withNewToken = action === "token";
    if (action === "stop" || (withNewToken && ++this.#tokenAttempts > TOKEN_ATTEMPTS_MAX)) {
      return { action: "stop" };
    }
    const waitMs = action === "wait" ? Math.max(0, this.#notBeforeMs - nowMs) : 0;
    const delayMs = Math.max(waitMs + this.nextDelayMs(), this.pauseMs(nowMs));
    return { action: "connect", delayMs, withNewToken };
  }
}
