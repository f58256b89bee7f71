/**
 * Limits how long one user may delay a commit. When a set of a user changes, each subscription with it is decided about
 * before the commit reaches any live query, so all other clients wait meanwhile.
 */
import type { Account } from "../../feed/account.ts";
import type { HistoryEntry } from "../../feed/history.ts";

/** Decisions for one user that take longer than this together, in milliseconds, are too many for one commit. */
const SHARE_MS = 50;
/** This many decisions of a user are always part of the commit, so that a slow machine defers none of an ordinary page. */
const DECISIONS_MIN = 100;

interface Spent {
  ms: number;
  decisions: number;
}

/** The time that decisions about the rights of each user have taken at each commit. */
export class CommitShare {
  readonly #spent = new WeakMap<HistoryEntry, Map<Account, Spent>>();

  /** A decision at this commit took `ms` milliseconds. */
  spend(at: HistoryEntry, account: Account, ms: number): void {
    const ofCommit = this.#spent.get(at) ?? new Map<Account, Spent>();
    this.#spent.set(at, ofCommit);
    const spent = ofCommit.get(account) ?? { ms: 0, decisions: 0 };
    ofCommit.set(account, spent);
    spent.ms += ms;
    spent.decisions++;
  }

  /** Whether the other subscriptions of the user must be decided about after the commit. */
  isSpent(at: HistoryEntry, account: Account): boolean {
    const spent = this.#spent.get(at)?.get(account);
    return spent !== undefined && spent.ms >= SHARE_MS && spent.decisions >= DECISIONS_MIN;
  }
}

/** The shares of all users of the process. */
export const commitShare = new CommitShare();
