import { TidewireError } from "../protocol/errors.ts";
import type { LiveQuery } from "./live-query.ts";
import type { FeedLimits } from "./options.ts";

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

/** What bounds a user, as `details.limit` and the metric name it. */
export type AccountLimit = Exclude<keyof AccountLimits, "workPerUserMs" | "lingeringPerUser"> | "workPerUser";

/** Counts what a limit refused or ended, by its name. */
export type OnLimit = (limit: string, outcome: "refused" | "ended") => void;

/** What one live query costs each user who holds it. */
export interface Load {
  readonly windowBytes: number;
  readonly filterWork: number;
}

/** A user may save up work for so long, in seconds. */
const WORK_BURST_S = 1;
/** Below this part of what may be saved up, a user gets no further live queries. */
const WORK_LOW = 0.25;

/** What has buffered bytes: one connection's outbox. */
interface Buffered {
  readonly bufferedBytes: number;
}

/**
 * What one user holds on this node, over all connections. Everything is charged when it is taken and given back when
 * it is freed, so that an account is empty once its user has left and nothing lingers. A live query that several users
 * share is charged to each of them whole: nobody passes a limit because somebody else has left.
 */
export class Account {
  readonly #limits: AccountLimits;
  readonly #onLimit: OnLimit;
  readonly #outboxes = new Set<Buffered>();
  #subscriptions = 0;
  #requestBytes = 0;
  #windowBytes = 0;
  #filterWork = 0;
  /** Live queries with a delivery of this user, and how many deliveries each. */
  readonly #held = new Map<LiveQuery, number>();
  /** Live queries that nobody follows and that this user left last; the oldest first. */
  readonly #lingering = new Set<LiveQuery>();
  /** Work that the user may still cause, in milliseconds, as of `#workAtMs`. */
  #workMs: number;
  #workAtMs = 0;

  constructor(limits: AccountLimits, onLimit: OnLimit) {
    this.#limits = limits;
    this.#onLimit = onLimit;
    this.#workMs = limits.workPerUserMs * WORK_BURST_S;
  }

  get connections(): number {
    return this.#outboxes.size;
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

  /** What waits in the outboxes of all connections. */
  get outboxBytes(): number {
    let bytes = 0;
    for (const { bufferedBytes } of this.#outboxes) bytes += bufferedBytes;
    return bytes;
  }

  /** Live queries that the user follows or left behind. */
  get liveQueries(): number {
    return this.#held.size + this.#lingering.size;
  }

  get lingering(): number {
    return this.#lingering.size;
  }

  /** Nothing is charged, and no work is owed. */
  isEmpty(nowMs: number): boolean {
    const held = this.connections + this.#subscriptions + this.#requestBytes + this.liveQueries;
    return held + this.#windowBytes + this.#filterWork === 0 && this.#availableMs(nowMs) >= this.#workMostMs;
  }

  connected(outbox: Buffered): void {
    this.#outboxes.add(outbox);
  }

  disconnected(outbox: Buffered): void {
    this.#outboxes.delete(outbox);
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

  /** The limit that one more live query would pass, if any. */
  limitFor(filterWork: number): AccountLimit | null {
    if (this.liveQueries >= this.#limits.liveQueriesPerUser) return "liveQueriesPerUser";
    return this.#filterWork + filterWork > this.#limits.filterWorkPerUser ? "filterWorkPerUser" : null;
  }

  /** Whether the user has left behind more than may linger. */
  get lingersTooMuch(): boolean {
    return this.#lingering.size > this.#limits.lingeringPerUser;
  }

  /** Whether `bytes` more of windows would pass the user's share. */
  isOverWindows(bytes = 0): boolean {
    return this.#windowBytes + bytes > this.#limits.userWindowBytes;
  }

  /** Whether the live query is charged here already. */
  owns(liveQuery: LiveQuery): boolean {
    return this.#held.has(liveQuery) || this.#lingering.has(liveQuery);
  }

  /** A delivery of this user joins the live query. @returns Whether it is the first. */
  hold(liveQuery: LiveQuery, load: Load): boolean {
    const count = this.#held.get(liveQuery) ?? 0;
    this.#held.set(liveQuery, count + 1);
    if (count === 0) this.#charge(load, 1);
    return count === 0;
  }

  /** A delivery of this user leaves the live query. @returns Whether it was the last. */
  letGo(liveQuery: LiveQuery, load: Load): boolean {
    const count = (this.#held.get(liveQuery) ?? 0) - 1;
    if (count > 0) {
      this.#held.set(liveQuery, count);
      return false;
    }
    if (this.#held.delete(liveQuery)) this.#charge(load, -1);
    return true;
  }

  /** The user was the last to leave this live query, which lingers. */
  leftBehind(liveQuery: LiveQuery, load: Load): void {
    this.#lingering.add(liveQuery);
    this.#charge(load, 1);
  }

  /** The live query lingers no longer: somebody follows it again, or it was removed. */
  notLingering(liveQuery: LiveQuery, load: Load): void {
    if (this.#lingering.delete(liveQuery)) this.#charge(load, -1);
  }

  /** The live query that was left behind first. */
  get oldestLingering(): LiveQuery | undefined {
    return this.#lingering.values().next().value;
  }

  /** The live queries that the user follows now. */
  get held(): Iterable<LiveQuery> {
    return this.#held.keys();
  }

  /** A window, or a sorted result that is being read, has grown or shrunk. */
  growWindows(bytes: number): void {
    this.#windowBytes += bytes;
  }

  /** Charges work that was done for the user. @returns What may still be caused; below zero the budget is passed. */
  work(spentMs: number, nowMs: number): number {
    this.#workMs = this.#availableMs(nowMs) - spentMs;
    this.#workAtMs = nowMs;
    return this.#workMs;
  }

  /** Forgives what was passed: the live queries that caused it have ended. */
  forgiveWork(): void {
    this.#workMs = Math.max(0, this.#workMs);
  }

  /** Whether the user has caused so much work lately that no further live query may be added. */
  isExhausted(nowMs: number): boolean {
    return this.#availableMs(nowMs) < this.#workMostMs * WORK_LOW;
  }

  /** Counts a refusal and makes its error. */
  refusal(limit: AccountLimit): TidewireError {
    this.#onLimit(limit, "refused");
    return this.#errorOf(limit);
  }

  /** Counts the end of a subscription and makes its error. */
  ended(limit: AccountLimit): TidewireError {
    this.#onLimit(limit, "ended");
    return this.#errorOf(limit);
  }

  #errorOf(limit: AccountLimit): TidewireError {
    return limit === "workPerUser"
      ? tooMany(limit, this.#limits.workPerUserMs, WORK_RETRY_MS)
      : tooMany(limit, this.#limits[limit]);
  }

  get #workMostMs(): number {
    return this.#limits.workPerUserMs * WORK_BURST_S;
  }

  #availableMs(nowMs: number): number {
    const seconds = Math.max(0, nowMs - this.#workAtMs) / 1_000;
    return Math.min(this.#workMostMs, this.#workMs + seconds * this.#limits.workPerUserMs);
  }

  #charge({ windowBytes, filterWork }: Load, sign: 1 | -1): void {
    this.#windowBytes += sign * windowBytes;
    this.#filterWork += sign * filterWork;
  }
}

/** When a user whose work budget is spent may ask again, in milliseconds. */
const WORK_RETRY_MS = 10_000;

const TEXTS: Readonly<Record<string, string>> = {
  workPerUser: "the live queries of this user cost more time than they may: narrow the dearest ones",
  windowBytes:
    "the sorted live queries of this node hold as much as they may: use a smaller limit, or try again later",
  userWindowBytes: "the sorted live queries of this user hold as much as they may: use a smaller limit",
};

/** An error that names the limit, for a subscription that a limit of its user or of the node refuses or ends. */
export function tooMany(limit: string, value: number, retryAfterMs?: number): TidewireError {
  const text = TEXTS[limit] ?? "this user holds too much on this node: unsubscribe from something";
  return new TidewireError(
    "too-many-subscriptions",
    `${text} (limits.${limit})`,
    { limit, value },
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}
