/**
 * Limits the requests of one user over all connections to this process. Without it a user would multiply the rate of a
 * connection by the number of connections.
 */
import type { Account } from "../../feed/account.ts";
import { amount } from "../../protocol/amount.ts";
import { requestCost } from "../../protocol/request-limits.ts";
import type { GatewayContext } from "../context.ts";
import { RateLimit } from "./rate-limit.ts";

/** The rate of each user. */
export interface UserRate {
  readonly perSecond: number;
  readonly burst: number;
}

/** One bucket for each account. An account that sends nothing has none. */
export class UserRates {
  readonly #buckets = new WeakMap<Account, RateLimit>();

  /**
   * Takes the cost of a request.
   * @returns Milliseconds until it could be taken; 0 if it was taken.
   */
  take(account: Account, cost: number, { perSecond, burst }: UserRate, nowMs: number): number {
    let bucket = this.#buckets.get(account);
    if (bucket === undefined) {
      bucket = new RateLimit(perSecond, burst, nowMs);
      this.#buckets.set(account, bucket);
    }
    return bucket.take(cost, nowMs) ? 0 : Math.max(1, bucket.waitMs(cost));
  }

  /** Whether the account has its whole burst again, so that it can be dropped without giving its user a new one. */
  isFull(account: Account, nowMs: number): boolean {
    return this.#buckets.get(account)?.isFull(nowMs) ?? true;
  }
}

/** The rates of all users of the process. */
export const userRates = new UserRates();
/** The rates of all users of the process for refreshes that change rights. */
export const userRefreshRates = new UserRates();

/** The refusal of a request that exceeds the rate of its user. */
export interface UserRefusal {
  readonly text: string;
  readonly details: { readonly limit: "userRequestsPerSecond"; readonly value: number };
  readonly retryAfterMs: number;
}

/**
 * Charges a user for a request of this many bytes, and counts a refusal.
 * @returns `null` if the request is within the rate.
 */
export function chargeUser(
  { limits, metrics }: Pick<GatewayContext, "limits" | "metrics">,
  account: Account,
  bytes: number,
  nowMs: number,
): UserRefusal | null {
  const [limit, value] = ["userRequestsPerSecond", limits.userRequestsPerSecond] as const;
  const rate = { perSecond: value, burst: limits.userRequestBurst };
  const retryAfterMs = userRates.take(account, requestCost(bytes), rate, nowMs);
  if (retryAfterMs === 0) return null;
  metrics.limitHits.inc({ limit, outcome: "refused" });
  const text = `more than ${amount(value, "request")} a second of this user: slow down`;
  return { text, details: { limit, value }, retryAfterMs };
}
