import type { ReconnectAdvice } from "../protocol/messages.ts";

/** The reaction that the end of a connection asks for (docs/protocol.md, section 5). */
export type CloseAction = "back-off" | "token" | "wait" | "stop";

/** Codes of RFC 6455 after which the same would only happen again: our own mistake, or a bug. */
const HOPELESS: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009, 1010, 1011]);

/** Judges by range, so that a client understands codes that are newer than it is. */
export function actionFor(code: number): CloseAction {
  if (HOPELESS.has(code) || (code >= 4400 && code < 4500)) return "stop";
  if (code >= 4100 && code < 4200) return "token";
  if (code >= 4200 && code < 4300) return "wait";
  return "back-off";
}

/** Until a `welcome` has said otherwise. */
export const FIRST_ADVICE: ReconnectAdvice = { minMs: 250, maxMs: 30_000, factor: 2, stableAfterMs: 5_000 };

/** So many tokens are tried without a `welcome` between them. */
export const TOKEN_ATTEMPTS_MAX = 3;

const MOVE_SHARE = 0.8;
const MINUTE_MS = 60_000;
/** Full jitter alone has no bound: a row of small dice would hammer a service that refuses. */
const ATTEMPTS_PER_MINUTE = 12;

/** Settings of an application that replace the advice of the service. */
export interface ReconnectOptions extends Partial<ReconnectAdvice> {
  /** Connections begun within any minute, whatever the back-off says; 12 unless told. */
  readonly attemptsPerMinute?: number;
}

/** The next step after a connection has ended. */
export type NextStep =
  | { readonly action: "stop" }
  | { readonly action: "connect"; readonly delayMs: number; readonly withNewToken: boolean };

/**
 * When to come back, and how: full jitter, so that clients cut off together do not return together. Pure but
 * for what it remembers; the clock and the dice are arguments.
 */
export class Reconnect {
  readonly #random: () => number;
  readonly #options: ReconnectOptions;
  #advice: ReconnectAdvice;
  #failures = 0;
  #tokenAttempts = 0;
  #welcomedAtMs: number | undefined;
  /** The service asked to be left alone until then. */
  #notBeforeMs = 0;
  /** When the connections of the last minute were begun. */
  #attempts: number[] = [];

  constructor(random: () => number = Math.random, options: ReconnectOptions = {}) {
    this.#random = random;
    this.#options = options;
    this.#advice = { ...FIRST_ADVICE, ...options };
  }

  /** A connection is begun. */
  attempted(nowMs: number): void {
    this.#attempts.push(nowMs);
    if (this.#attempts.length > this.#attemptsMax) this.#attempts.shift();
  }

  /** A connection was welcomed. It still has to last before the back-off starts over. */
  welcomed(advice: ReconnectAdvice, nowMs: number): void {
    this.#advice = { ...advice, ...this.#options };
    this.#welcomedAtMs = nowMs;
    this.#tokenAttempts = 0;
    this.#notBeforeMs = 0;
  }

  /** The application wants another try. */
  restart(): void {
    this.#failures = 0;
    this.#tokenAttempts = 0;
    this.#notBeforeMs = 0;
  }

  /** The service said how long to wait, by `draining` or `retryAfterMs`. */
  told(waitMs: number, nowMs: number): void {
    this.#notBeforeMs = nowMs + waitMs;
  }

  /** A random moment within the time that a draining node gives, early enough to be done by its end. */
  momentWithin(withinMs: number): number {
    return this.#random() * withinMs * MOVE_SHARE;
  }

  /** The next delay of the back-off, for a connection that has ended or a request that is to be repeated. */
  nextDelayMs(): number {
    const { minMs, maxMs, factor } = this.#advice;
    const delayMs = this.#random() * Math.min(maxMs, minMs * factor ** this.#failures);
    this.#failures++;
    return delayMs;
  }

  /** How long the next connection has to wait at least, so that there are not too many a minute. */
  pauseMs(nowMs: number): number {
    if (this.#attempts.length < this.#attemptsMax) return 0;
    return Math.max(0, (this.#attempts[0] ?? 0) + MINUTE_MS - nowMs);
  }

  closed(code: number, nowMs: number): NextStep {
    const lastedMs = this.#welcomedAtMs === undefined ? 0 : nowMs - this.#welcomedAtMs;
    if (this.#welcomedAtMs !== undefined && lastedMs >= this.#advice.stableAfterMs) this.#failures = 0;
    this.#welcomedAtMs = undefined;
    const action = actionFor(code);
    if (action === "stop") return { action };
    if (action === "token" && ++this.#tokenAttempts > TOKEN_ATTEMPTS_MAX) return { action: "stop" };
    const waitMs = action === "wait" ? Math.max(0, this.#notBeforeMs - nowMs) : 0;
    const delayMs = Math.max(waitMs + this.nextDelayMs(), this.pauseMs(nowMs));
    return { action: "connect", delayMs, withNewToken: action === "token" };
  }

  get #attemptsMax(): number {
    return this.#options.attemptsPerMinute ?? ATTEMPTS_PER_MINUTE;
  }
}
