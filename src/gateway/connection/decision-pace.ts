/**
 * Limits how much time decisions about the rights of one user take. Somebody else may cause them by changing a set again and
 * again, so nothing ends for them. Those that changed sets cause wait instead.
 */
import type { Account } from "../../feed/account.ts";
import type { WorkAllowance } from "../../feed/work-allowance.ts";

/** Longest time for which a subscription is silent before the decision about a changed set, in milliseconds. */
const PAUSE_MAX_MS = 1_000;

/**
 * The time of decisions for each user. It grows half as fast as `Account.work`, which the decisions lower as well, so that
 * they alone leave the user room for further live queries.
 */
export class DecisionPace {
  readonly #allowances = new WeakMap<Account, WorkAllowance>();

  /** A decision about the rights of a user took `ms` milliseconds. */
  spend(account: Account, ms: number, nowMs: number): void {
    const allowance = this.#allowances.get(account) ?? account.work.half();
    this.#allowances.set(account, allowance);
    allowance.spend(ms, nowMs);
  }

  /** Milliseconds for which the next decision should wait; 0 if it need not. */
  pauseMs(account: Account, nowMs: number): number {
    return Math.min(PAUSE_MAX_MS, this.#allowances.get(account)?.pauseMs(nowMs) ?? 0);
  }
}

/** The pace for all users of the process. */
export const decisionPace = new DecisionPace();
