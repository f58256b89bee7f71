import { TidewireError } from "../protocol/errors.ts";
import type { LiveQuery } from "./live-query.ts";
import type { FeedLimits } from "./options.ts";

/** The limits of one user over all connections to this node. */
export type AccountLimits = Pick<
  FeedLimits,
  "subscriptionsPerUser" | "liveQueriesPerUser" | "lingeringPerUser" | "userRequestBytes"
>;

/** Names of the limits that an account enforces, for `details.limit` and the metric. */
export type AccountLimit = keyof AccountLimits;

/** Counts the refusals, by the name of the limit. */
export type OnRefused = (limit: string) => void;

/**
 * What one user holds on this node, over all connections. Everything is charged when it is taken and given back when
 * it is freed, so that an account is empty once its user has left and nothing lingers.
 */
export class Account {
  readonly #limits: AccountLimits;
  readonly #onRefused: OnRefused;
  #connections = 0;
  #subscriptions = 0;
  #requestBytes = 0;
  /** Live queries with a delivery of this user, and how many deliveries each. */
  readonly #held = new Map<LiveQuery, number>();
  /** Live queries that nobody follows and that this user left last; the oldest first. */
  readonly #lingering = new Set<LiveQuery>();

  constructor(limits: AccountLimits, onRefused: OnRefused) {
    this.#limits = limits;
    this.#onRefused = onRefused;
  }

  get connections(): number {
    return this.#connections;
  }

  get subscriptions(): number {
    return this.#subscriptions;
  }

  get requestBytes(): number {
    return this.#requestBytes;
  }

  /** Live queries that the user follows or left behind. */
  get liveQueries(): number {
    return this.#held.size + this.#lingering.size;
  }

  get lingering(): number {
    return this.#lingering.size;
  }

  /** Nothing is charged: the account can be forgotten. */
  get isEmpty(): boolean {
    return this.#connections + this.#subscriptions + this.#requestBytes + this.liveQueries === 0;
  }

  connected(): void {
    this.#connections++;
  }

  disconnected(): void {
    this.#connections--;
  }

  /**
   * Charges one subscription and the memory of its request.
   * @returns Gives both back; further calls do nothing.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  subscribe(requestBytes: number): () => void {
    if (this.#subscriptions >= this.#limits.subscriptionsPerUser) throw this.refusal("subscriptionsPerUser");
    if (this.#requestBytes + requestBytes > this.#limits.userRequestBytes)
      throw this.refusal("userRequestBytes");
    this.#subscriptions++;
    this.#requestBytes += requestBytes;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#subscriptions--;
      this.#requestBytes -= requestBytes;
    };
  }

  /** Whether one more live query would pass the limit. */
  get isFull(): boolean {
    return this.liveQueries >= this.#limits.liveQueriesPerUser;
  }

  /** Whether the user has left behind more than may linger. */
  get lingersTooMuch(): boolean {
    return this.#lingering.size > this.#limits.lingeringPerUser;
  }

  /** Whether the live query is charged here already. */
  owns(liveQuery: LiveQuery): boolean {
    return this.#held.has(liveQuery) || this.#lingering.has(liveQuery);
  }

  /** A delivery of this user joins the live query. */
  hold(liveQuery: LiveQuery): void {
    this.#held.set(liveQuery, (this.#held.get(liveQuery) ?? 0) + 1);
  }

  /** A delivery of this user leaves the live query. */
  letGo(liveQuery: LiveQuery): void {
    const count = (this.#held.get(liveQuery) ?? 0) - 1;
    if (count > 0) this.#held.set(liveQuery, count);
    else this.#held.delete(liveQuery);
  }

  /** The user was the last to leave this live query, which lingers. */
  leftBehind(liveQuery: LiveQuery): void {
    this.#lingering.add(liveQuery);
  }

  /** The live query lingers no longer: somebody follows it again, or it was removed. */
  notLingering(liveQuery: LiveQuery): void {
    this.#lingering.delete(liveQuery);
  }

  /** The live query that was left behind first. */
  get oldestLingering(): LiveQuery | undefined {
    return this.#lingering.values().next().value;
  }

  /** Counts a refusal and makes its error. */
  refusal(limit: AccountLimit): TidewireError {
    this.#onRefused(limit);
    return tooMany(limit, this.#limits[limit]);
  }
}

/** An error that names the limit, for a subscription that a limit of its user refuses or ends. */
export function tooMany(limit: string, value: number, retryAfterMs?: number): TidewireError {
  const text = `this user holds too much on this node (limits.${limit}): unsubscribe from something`;
  return new TidewireError(
    "too-many-subscriptions",
    text,
    { limit, value },
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}
