/**
 * Applies rate limits to messages. The first refusals are answers with the time to wait; a client that ignores them is
 * disconnected, because even refusing costs time.
 */
import { amount } from "../../protocol/amount.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ClientMessage } from "../../protocol/messages.ts";
import { requestCost } from "../../protocol/request-limits.ts";
import type { GatewayContext } from "../context.ts";
import { ClientError } from "./client-error.ts";
import { RateLimit } from "./rate-limit.ts";

/**
 * A client that exceeds this many refusals at once, or one per second in the long run, is taken for one that will not
 * stop.
 */
const REFUSALS_BURST = 100;
const REFUSALS_PER_SECOND = 1;

/** The rate limits of one client's messages (docs/protocol.md, section 6). */
export class RequestRates {
  readonly #context: Pick<GatewayContext, "limits" | "metrics">;
  readonly #requests: RateLimit;
  /** Created on first use. A new bucket is full, as an unused one would be. */
  #refreshes: RateLimit | null = null;
  #refusals: RateLimit | null = null;

  constructor(context: Pick<GatewayContext, "limits" | "metrics">, nowMs: number) {
    const { limits } = context;
    this.#context = context;
    this.#requests = new RateLimit(limits.requestsPerSecond, limits.requestBurst, nowMs);
  }

  /**
   * Charges for one message of this many bytes.
   * @throws {TidewireError} `too-many-requests`
   */
  charge(message: ClientMessage, bytes: number, nowMs: number): void {
    this.#charge(costOf(message, bytes), nowMs);
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
   * Charges for a message that cannot be read.
   * @throws {TidewireError} `too-many-requests`
   */
  chargeOne(nowMs: number, id: string | undefined): void {
    this.#charge(1, nowMs, id);
  }

  #charge(cost: number, nowMs: number, id?: string): void {
    if (this.#requests.take(cost, nowMs)) return;
    const { requestsPerSecond } = this.#context.limits;
    const text = `more than ${amount(requestsPerSecond, "request")} a second: slow down`;
    const limit = { limit: "requestsPerSecond", value: requestsPerSecond };
    const details = id === undefined ? limit : { ...limit, id };
    const extras = { details, retryAfterMs: this.#requests.waitMs(cost) };
    // The first refusals are errors. A client that continues is disconnected.
    this.#refusals ??= new RateLimit(REFUSALS_PER_SECOND, REFUSALS_BURST, nowMs);
    const closeCode = this.#refusals.take(1, nowMs) ? undefined : CLOSE_CODES.abuse;
    throw new ClientError("too-many-requests", text, closeCode, extras);
  }
}

/** The cost of a message against the rate limit. Only a filter, or the data of an entry, can be large. */
function costOf(message: ClientMessage, bytes: number): number {
  const isLarge = (message.type === "subscribe" && message.filter !== undefined) || message.type === "enter";
  return isLarge ? requestCost(bytes) : 1;
}
