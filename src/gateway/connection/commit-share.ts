/**
 * Limits how long one user, and all users together, may delay a commit. When a set of a user changes, each subscription
 * with it is decided about before the commit reaches any live query, so all other clients wait meanwhile.
 */
import type { Account } from "../../feed/account.ts";
import type { HistoryEntry } from "../../feed/history.ts";

/** Decisions for one user that take longer than this together, in milliseconds, are too many for one commit. */
const SHARE_MS = 50;
/** Fewer decisions than this may take longer than `SHARE_MS`, so that a slow machine defers none of an ordinary page. */
const DECISIONS_MIN = 100;
/** Decisions for one user never take longer than this and one more, in milliseconds, however few they are. */
const SHARE_MAX_MS = 250;
/**
 * After this time at one commit, in milliseconds, each user only has `LEAST_MS`. One commit may change the sets of many
 * users, who may all have made their decisions expensive.
 */
const COMMIT_MS = 1_000;
const LEAST_MS = 2;

interface Spent {
  ms: number;
  decisions: number;
}

/** The time that decisions at one commit have taken. */
interface SpentAtCommit {
  totalMs: number;
  readonly byAccount: Map<Account, Spent>;
}

/** The time that decisions about the rights of each user have taken at each commit. */
export class CommitShare {
  readonly #spent = new WeakMap<HistoryEntry, SpentAtCommit>();

  /** A decision at this commit took `ms` milliseconds. */
  spend(at: HistoryEntry, account: Account, ms: number): void {
    const ofCommit = this.#spent.get(at) ?? { totalMs: 0, byAccount: new Map<Account, Spent>() };
    this.#spent.set(at, ofCommit);
    const spent = ofCommit.byAccount.get(account) ?? { ms: 0, decisions: 0 };
    ofCommit.byAccount.set(account, spent);
    ofCommit.totalMs += ms;
    spent.ms += ms;
    spent.decisions++;
  }

  /** Whether the other subscriptions of the user must be decided about after the commit. */
  isSpent(at: HistoryEntry, account: Account): boolean {
    const ofCommit = this.#spent.get(at);
    const spent = ofCommit?.byAccount.get(account);
    if (ofCommit === undefined || spent === undefined) return false;
    if (spent.ms >= SHARE_MAX_MS || (spent.ms >= SHARE_MS && spent.decisions >= DECISIONS_MIN)) return true;
    return ofCommit.totalMs >= COMMIT_MS && spent.ms >= LEAST_MS;
  }
}

/** The shares of all users of the process. */
export const commitShare = new CommitShare();
