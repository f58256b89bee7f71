import type { Account } from "./account.ts";
import type { LiveQuery } from "./live-query.ts";

/** The memory of one sorted result while it is being read and sent. */
export interface ReadingCharge {
  /** @throws {TidewireError} `too-many-subscriptions` */
  add(bytes: number): void;
  sub(bytes: number): void;
  /** Gives back all that is left. */
  release(): void;
}

/** Checks and charges the memory of sorted live queries. */
export interface WindowAdmission {
  /** @throws {TidewireError} `too-many-subscriptions` where there is no room for the window that was just loaded. */
  admitWindow(liveQuery: LiveQuery, account: Account): void;
  /** For a sorted result that is read on behalf of a user. */
  chargeReading(account: Account): ReadingCharge;
}
