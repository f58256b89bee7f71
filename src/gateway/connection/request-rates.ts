/**
 * Applies rate limits to messages. The first refusals are answers with the time to wait; a client that ignores them is
 * disconnected, because even refusing costs time.
 */
import type { Account } from "../../feed/account.ts";
import { amount } from "../../protocol/amount.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ClientMessage } from "../../protocol/messages.ts";
import { requestCost } from "../../protocol/request-limits.ts";
import type { GatewayContext } from "../context.ts";
import { ClientError } from "./client-error.ts";
import { RateLimit } from "./rate-limit.ts";
import { chargeUser, type UserRefusal, userRefreshRates } from "./user-rates.ts";

/**
 * A client that exceeds this many refusals at once, or one per second in the long run, is taken for one that will not
 * stop.
 */
const REFUSALS_BURST = 100;
const REFUSALS_PER_SECOND = 1;
/** The same for refreshes that would change rights. Each connection may send only some of these in any case. */
const REFRESH_REFUSALS_BURST = 10;
const REFRESH_REFUSALS_PER_SECOND = 0.1;

interface Refusal extends Pick<UserRefusal, "text" | "retryAfterMs"> {
  readonly details: { readonly limit: string; readonly value: number };
}

/** The rate limits of one client's messages (docs/protocol.md, section 6). */
export class RequestRates {
  readonly #context: Pick<GatewayContext, "limits" | "metrics">;
  readonly #requests: RateLimit;
  /** Created on first use. A new bucket is full, as an unused one would be. */
  #refreshes: RateLimit | null = null;
  #refusals: RateLimit | null = null;
  #refreshRefusals: RateLimit | null = null;

  constructor(context: Pick<GatewayContext, "limits" | "metrics">, nowMs: number) {
    const { limits } = context;
    this.#context = context;
    this.#requests = new RateLimit(limits.requestsPerSecond, limits.requestBurst, nowMs);
  }

  /**
   * Charges for one message of this many bytes.
   * @param account The user; `null` before the client is known.
   * @throws {TidewireError} `too-many-requests`
   */
  charge(message: ClientMessage, bytes: number, account: Account | null, nowMs: number): void {
    this.#charge(bytes, account, nowMs);
    if (message.type !== "refresh") return;
    const { limits } = this.#context;
    this.#refreshes ??= new RateLimit(limits.refreshesPerMinute / 60, limits.refreshBurst, nowMs);
    if (this.#refreshes.take(1, nowMs)) return;
    this.#context.metrics.limitHits.inc({ limit: "refreshesPerMinute", outcome: "refused" });
    const value = limits.refreshesPerMinute;
    throw new TidewireError(
      "too-many-requests",
      `more than ${amount(value, "refresh", "refreshes")} a minute: slow down`,
      { limit: "refreshesPerMinute", value },
      { retryAfterMs: this.#refreshes.waitMs(1) },
    );
  }

  /**
   * Charges the user for a refresh that changes rights: it authorizes subscriptions again, and a user could send it on every
   * connection.
   * @throws {ClientError} `too-many-requests`
   */
  chargeChange(account: Account, nowMs: number): void {
    const { limits, metrics } = this.#context;
    const [limit, value] = ["userRefreshesPerMinute", limits.userRefreshesPerMinute] as const;
    const rate = { perSecond: value / 60, burst: limits.userRefreshBurst };
    const retryAfterMs = userRefreshRates.take(account, 1, rate, nowMs);
    if (retryAfterMs === 0) return;
    metrics.limitHits.inc({ limit, outcome: "refused" });
    const text = `this user changes rights by more than ${amount(value, "refresh", "refreshes")} a minute: slow down`;
    this.#refreshRefusals ??= new RateLimit(REFRESH_REFUSALS_PER_SECOND, REFRESH_REFUSALS_BURST, nowMs);
    const closeCode = this.#refreshRefusals.take(1, nowMs) ? undefined : CLOSE_CODES.abuse;
    throw new ClientError("too-many-requests", text, closeCode, { details: { limit, value }, retryAfterMs });
  }

  /**
   * Charges for a message of this many bytes that is refused, which costs the service as much as one that is served.
   * @throws {TidewireError} `too-many-requests`
   */
  chargeRefused(bytes: number, account: Account, nowMs: number, id: string | undefined): void {
    this.#charge(bytes, account, nowMs, id);
  }

  #charge(bytes: number, account: Account | null, nowMs: number, id?: string): void {
    const cost = requestCost(bytes);
    if (!this.#requests.take(cost, nowMs)) {
      const [limit, value] = ["requestsPerSecond", this.#context.limits.requestsPerSecond] as const;
      const text = `more than ${amount(value, "request")} a second: slow down`;
      const retryAfterMs = this.#requests.waitMs(cost);
      throw this.#refusal({ text, details: { limit, value }, retryAfterMs }, nowMs, id);
    }
    const refusal = account === null ? null : chargeUser(this.#context, account, bytes, nowMs);
    if (refusal !== null) throw this.#refusal(refusal, nowMs, id);
  }

  #refusal({ text, details, retryAfterMs }: Refusal, nowMs: number, id: string | undefined): ClientError {
    const extras = { details: id === undefined ? details : { ...details, id }, retryAfterMs };
    // The first refusals are errors. A client that continues is disconnected.
    this.#refusals ??= new RateLimit(REFUSALS_PER_SECOND, REFUSALS_BURST, nowMs);
    const closeCode = this.#refusals.take(1, nowMs) ? undefined : CLOSE_CODES.abuse;
    return new ClientError("too-many-requests", text, closeCode, extras);
  }
}
