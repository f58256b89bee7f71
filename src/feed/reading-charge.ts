/**
 * The charge for memory of sorted results, as interfaces. Deliveries and snapshots must account for it without knowing
 * the budget of the node.
 */
import type { Account } from "./account.ts";
import type { LiveQuery } from "./live-query.ts";

/** The memory of one sorted result while it is being read and sent. */
export interface ReadingCharge {
  /**
   * Charges more bytes.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  add(bytes: number): void;
  sub(bytes: number): void;
  /**
   * Charges another user instead.
   * @returns `false` if that user has no room. Then nothing has changed.
   */
  moveTo(account: Account): boolean;
  /** Returns everything that is still charged. */
  release(): void;
}

/** Checks and charges the memory of sorted live queries. */
export interface WindowAdmission {
  /**
   * Checks the window that was just loaded.
   * @throws {TidewireError} `too-many-subscriptions` if there is no room for it.
   */
  admitWindow(liveQuery: LiveQuery, account: Account): void;
  /** The charge for a sorted result that is read on behalf of a user. */
  chargeReading(account: Account): ReadingCharge;
}
