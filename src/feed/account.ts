/**
 * Keeps the account of one user on this node. Limits per connection would not stop a user who opens many connections,
 * so everything that costs memory or time is charged to the user. All charges are taken and returned in this file, so
 * that no path can forget one of them.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { LiveQuery } from "./live-query.ts";
import type { FeedLimits } from "./options.ts";
import { Outboxes } from "./outboxes.ts";
import { slotUseOf } from "./turn.ts";
import { WorkAllowance } from "./work-allowance.ts";

/** The limits of one user over all connections to this node. */
export type AccountLimits = Pick<
  FeedLimits,
  | "subscriptionsPerUser"
  | "liveQueriesPerUser"
  | "lingeringPerUser"
  | "userRequestBytes"
  | "userWindowBytes"
  | "filterWorkPerUser"
  | "workPerUserMs"
>;

/** A limit of a user, as `details.limit` and the metric name it. */
export type AccountLimit = Exclude<keyof AccountLimits, "workPerUserMs" | "lingeringPerUser"> | "workPerUser";

/** Called when a limit refuses or ends something, for the metric. */
export type OnLimit = (limit: string, outcome: "refused" | "ended") => void;

/** The cost of one live query to each user who follows it. */
export interface Load {
  readonly windowBytes: number;
  readonly filterWork: number;
}

/** The charge of one subscription. */
export class SubscriptionCharge {
  readonly #requestBytes: number;
  readonly #end: (requestBytes: number) => void;
  #isGiven = false;

  constructor(requestBytes: number, end: (requestBytes: number) => void) {
    this.#requestBytes = requestBytes;
    this.#end = end;
  }

  /** Returns the subscription and the memory of its request. Further calls do nothing. */
  giveBack(): void {
    if (this.#isGiven) return;
    this.#isGiven = true;
    this.#end(this.#requestBytes);
  }
}

/**
 * Everything that one user holds on this node, over all connections. It is charged when it is taken and returned when
 * it is freed, so an account is empty once its user has left and nothing lingers. A live query that several users share
 * is charged to each of them in full. Otherwise a user could exceed a limit because another one has left.
 */
export class Account {
  readonly outboxes = new Outboxes();
  readonly work: WorkAllowance;
  readonly #limits: AccountLimits;
  readonly #onLimit: OnLimit;
  #subscriptions = 0;
  #requestBytes = 0;
  #windowBytes = 0;
  #filterWork = 0;
  /** Live queries with a delivery of this user, and the number of these deliveries. */
  readonly #held = new Map<LiveQuery, number>();
  /** Live queries that nobody follows and that this user was the last to leave, the oldest first. */
  readonly #lingering = new Set<LiveQuery>();

  /** One for all charges. */
  readonly #endSubscription = (requestBytes: number): void => {
    this.#subscriptions--;
    this.#requestBytes -= requestBytes;
  };

  constructor(limits: AccountLimits, onLimit: OnLimit) {
    this.#limits = limits;
    this.#onLimit = onLimit;
    this.work = new WorkAllowance(limits.workPerUserMs);
  }

  get subscriptions(): number {
    return this.#subscriptions;
  }

  get requestBytes(): number {
    return this.#requestBytes;
  }

  /** Bytes of windows, and of sorted results that are being read. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** The number of live queries that the user follows or left lingering. */
  get liveQueries(): number {
    return this.#held.size + this.#lingering.size;
  }

  /**
   * Whether nothing is charged and no work is owed, so that the account can be dropped. A read whose client has left still
   * holds its slot, and a new account would give the user further ones.
   */
  isEmpty(nowMs: number): boolean {
    if (slotUseOf(this).held > 0) return false;
    const held = this.outboxes.size + this.#subscriptions + this.#requestBytes + this.liveQueries;
    return held + this.#windowBytes + this.#filterWork === 0 && this.work.isFull(nowMs);
  }

  /**
   * Charges one subscription and the memory of its request.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  subscribe(requestBytes: number): SubscriptionCharge {
    if (this.#subscriptions >= this.#limits.subscriptionsPerUser)
      throw this.errorOf("subscriptionsPerUser", "refused");
    if (this.#requestBytes + requestBytes > this.#limits.userRequestBytes)
      throw this.errorOf("userRequestBytes", "refused");
    this.#subscriptions++;
    this.#requestBytes += requestBytes;
    return new SubscriptionCharge(requestBytes, this.#endSubscription);
  }

  /** The limit that one more live query would exceed; `null` if none. */
  limitFor(filterWork: number): AccountLimit | null {
    if (this.liveQueries >= this.#limits.liveQueriesPerUser) return "liveQueriesPerUser";
    return this.#filterWork + filterWork > this.#limits.filterWorkPerUser ? "filterWorkPerUser" : null;
  }

  /** Whether the oldest lingering live query must be removed, because too many linger or they take too much memory. */
  get lingersTooMuch(): boolean {
    if (this.#lingering.size > this.#limits.lingeringPerUser) return true;
    return this.#lingering.size > 0 && this.isOverWindows();
  }

  /** Whether `bytes` more of windows would exceed the user's share. */
  isOverWindows(bytes = 0): boolean {
    return this.#windowBytes + bytes > this.#limits.userWindowBytes;
  }

  /** Whether the live query is charged to this user already. */
  owns(liveQuery: LiveQuery): boolean {
    return this.#held.has(liveQuery) || this.#lingering.has(liveQuery);
  }

  /**
   * A delivery of this user joins the live query.
   * @returns Whether it is the first one.
   */
  hold(liveQuery: LiveQuery, load: Load): boolean {
    const count = this.#held.get(liveQuery) ?? 0;
    this.#held.set(liveQuery, count + 1);
    if (count === 0) this.#charge(load, 1);
    return count === 0;
  }

  /**
   * A delivery of this user leaves the live query.
   * @returns Whether it was the last one.
   */
  letGo(liveQuery: LiveQuery, load: Load): boolean {
    const count = (this.#held.get(liveQuery) ?? 0) - 1;
    if (count > 0) {
      this.#held.set(liveQuery, count);
      return false;
    }
    if (this.#held.delete(liveQuery)) this.#charge(load, -1);
    return true;
  }

  /** The user was the last to leave this live query. It lingers, and stays charged to this user. */
  leftBehind(liveQuery: LiveQuery, load: Load): void {
    this.#lingering.add(liveQuery);
    this.#charge(load, 1);
  }

  /** The live query no longer lingers: a user follows it again, or it was removed. */
  notLingering(liveQuery: LiveQuery, load: Load): void {
    if (this.#lingering.delete(liveQuery)) this.#charge(load, -1);
  }

  /** The live query that has lingered longest. */
  get oldestLingering(): LiveQuery | undefined {
    return this.#lingering.values().next().value;
  }

  /** The live queries that the user follows now. */
  get held(): Iterable<LiveQuery> {
    return this.#held.keys();
  }

  /** Adjusts the charge after a window, or a sorted result that is being read, has grown or shrunk. */
  growWindows(bytes: number): void {
    this.#windowBytes += bytes;
  }

  /** Counts a refusal or an end for the metric, and makes the error for it. */
  errorOf(limit: AccountLimit, outcome: "refused" | "ended"): TidewireError {
    this.#onLimit(limit, outcome);
    return limit === "workPerUser"
      ? tooMany(limit, this.#limits.workPerUserMs, WORK_RETRY_MS)
      : tooMany(limit, this.#limits[limit]);
  }

  #charge({ windowBytes, filterWork }: Load, sign: 1 | -1): void {
    this.#windowBytes += sign * windowBytes;
    this.#filterWork += sign * filterWork;
  }
}

/** After this time a user whose work budget is spent may ask again, in milliseconds. */
const WORK_RETRY_MS = 10_000;

const TEXTS: Readonly<Record<string, string>> = {
  workPerUser: "the live queries of this user exceed their processing time: narrow the most expensive ones",
  windowBytes:
    "the sorted live queries of this node have reached their memory limit: use a smaller limit, or try again later",
  userWindowBytes:
    "the sorted live queries of this user, and results of capped collections, have reached their memory limit: use a smaller limit",
};

/** Makes the error for a subscription that a limit of its user or of the node refuses or ends. It names the limit. */
export function tooMany(limit: string, value: number, retryAfterMs?: number): TidewireError {
  const text = TEXTS[limit] ?? "this user has reached a limit of this node: unsubscribe from a query";
  return new TidewireError(
    "too-many-subscriptions",
    `${text} (limits.${limit})`,
    { limit, value },
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}
