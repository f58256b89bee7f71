import { expect, test } from "vitest";
import type { Account } from "../../../src/feed/account.ts";
import type { HistoryEntry } from "../../../src/feed/history.ts";
import { CommitShare } from "../../../src/gateway/connection/commit-share.ts";

const account = () => ({}) as Account; // only compared
const commit = () => ({}) as HistoryEntry;

/** Decisions for one user at one commit. */
function spend(share: CommitShare, at: HistoryEntry, user: Account, decisions: number, ms: number): void {
  for (let i = 0; i < decisions; i++) share.spend(at, user, ms);
}

test("a user's share of a commit is spent after a hundred decisions that took fifty milliseconds, and not before", () => {
  const share = new CommitShare();
  const at = commit();
  const [slow, few, many] = [account(), account(), account()];
  spend(share, at, slow, 100, 0.5);
  spend(share, at, few, 99, 2);
  spend(share, at, many, 1_000, 0.04);
  expect([slow, few, many].map((user) => share.isSpent(at, user))).toEqual([true, false, false]);
});

test("few decisions that take very long are too many as well", () => {
  const share = new CommitShare();
  const at = commit();
  const user = account();
  spend(share, at, user, 24, 10);
  expect(share.isSpent(at, user)).toBe(false);
  spend(share, at, user, 1, 10);
  expect(share.isSpent(at, user)).toBe(true);
});

test("many users together delay a commit by a second, and by two milliseconds for each further user", () => {
  const share = new CommitShare();
  const at = commit();
  const [late, cheap] = [account(), account()];
  for (let user = 0; user < 5; user++) spend(share, at, account(), 1, 199);
  spend(share, at, late, 1, 2);
  expect(share.isSpent(at, late)).toBe(false);
  spend(share, at, cheap, 6, 0.5);
  expect([share.isSpent(at, late), share.isSpent(at, cheap)]).toEqual([true, true]);
  const other = account();
  expect(share.isSpent(at, other)).toBe(false);
  spend(share, at, other, 3, 0.5);
  expect(share.isSpent(at, other)).toBe(false);
});

test("each user and each commit has a share of its own", () => {
  const share = new CommitShare();
  const [at, next] = [commit(), commit()];
  const [one, other] = [account(), account()];
  spend(share, at, one, 200, 1);
  expect([share.isSpent(at, one), share.isSpent(at, other), share.isSpent(next, one)]).toEqual([
    true,
    false,
    false,
  ]);
});
