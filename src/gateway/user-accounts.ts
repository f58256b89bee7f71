import type { Identity } from "../auth/verify-token.ts";
import { Account, type AccountLimits, type OnLimit } from "../feed/account.ts";
import type { LiveQuery } from "../feed/live-query.ts";
import { userRates, userRefreshRates } from "./connection/user-rates.ts";
import { networkOf } from "./http/client-network.ts";

/**
 * One account for each user of this node. Users who cannot be distinguished (anonymous clients, and tokens without
 * `sub`) share the account of their address. An IPv6 address counts by its /64, because one subscriber owns all of it.
 */
export class UserAccounts {
  readonly #limits: AccountLimits;
  readonly #onLimit: OnLimit;
  readonly #byKey = new Map<string, Account>();

  constructor(limits: AccountLimits, onLimit: OnLimit) {
    this.#limits = limits;
    this.#onLimit = onLimit;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The account of a connection's user. */
  of(identity: Identity | null, address: string): Account {
    const subject = identity?.subject ?? null;
    const key = subject === null ? `address ${networkOf(address)}` : `subject ${subject}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const account = new Account(this.#limits, this.#onLimit);
    this.#byKey.set(key, account);
    return account;
  }

  /** Whether a user who can be distinguished follows a live query by one of these accounts. */
  follows({ subject }: Identity, liveQuery: LiveQuery): boolean {
    const account = subject === null ? undefined : this.#byKey.get(`subject ${subject}`);
    for (const held of account?.held ?? []) if (held === liveQuery) return true;
    return false;
  }

  /** Drops the accounts to which nothing is charged. */
  sweep(nowMs: number): void {
    const haveBursts = (account: Account) =>
      userRates.isFull(account, nowMs) && userRefreshRates.isFull(account, nowMs);
    for (const [key, account] of this.#byKey)
      if (account.isEmpty(nowMs) && haveBursts(account)) this.#byKey.delete(key);
  }

  [Symbol.iterator](): IterableIterator<Account> {
    return this.#byKey.values();
  }
}

/** Beyond everything that a configuration may ask for. Not infinite, because allowances are computed with it. */
const MOST = 1e15;
const UNLIMITED: AccountLimits = {
  subscriptionsPerUser: MOST,
  liveQueriesPerUser: MOST,
  lingeringPerUser: MOST,
  userRequestBytes: MOST,
  userWindowBytes: MOST,
  filterWorkPerUser: MOST,
  workPerUserMs: MOST,
};

/** The account of a part of the node itself, to which no limit of users applies. */
export const unlimitedAccount = (): Account => new Account(UNLIMITED, () => {});
