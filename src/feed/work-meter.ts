/**
 * Measures the processing time of live queries. The cost of a filter is hard to predict (it depends on the documents),
 * so besides the estimate in `filter-cost.ts` the real time is measured and charged to users.
 */
import type { Logger } from "pino";
import { queryWork } from "../match/filter-work.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Account } from "./account.ts";
import type { Holdings } from "./holdings.ts";
import type { LiveQuery } from "./live-query.ts";

/** The weight of a new measurement in the mean cost of a change. */
const WEIGHT = 0.2;
/**
 * Costs below this, in milliseconds per commit, are sampled: this whole amount is charged, with the probability that
 * keeps the mean exact. Recording every few microseconds would itself be a large part of the work.
 */
const CHEAP_MS = 0.05;
/** A mean time for one commit below this, in milliseconds, is dropped. */
const FORGOTTEN_MS = 0.005;
/** Time of work between two judgements, in milliseconds. It is short, so that no budget can be exceeded by much. */
const JUDGE_AFTER_MS = 25;
/** A live query whose evaluation is expected to take longer than this, in milliseconds, may end without it. */
const SHED_MS = 0.5;

/** An index that finds live queries. All live queries in it share the time of a search. */
interface Searched {
  readonly size: number;
  items(): Iterable<LiveQuery>;
}

/** The work for one user, and the live queries that caused it. */
interface Spent {
  ms: number;
  readonly by: { readonly liveQuery: LiveQuery; readonly ms: number }[];
}

function add(spent: Map<Account, Spent>, account: Account, liveQuery: LiveQuery, ms: number): void {
  const sum = spent.get(account) ?? { ms: 0, by: [] };
  spent.set(account, sum);
  sum.ms += ms;
  sum.by.push({ liveQuery, ms });
}

/** The parts that `WorkMeter` works with. */
export interface WorkMeterParts {
  readonly holdings: Holdings;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Ends the deliveries that a user has of a live query. */
  readonly end: (liveQuery: LiveQuery, account: Account, error: Error) => void;
  /** The processor time of this process so far, in milliseconds. */
  readonly cpuMs?: () => number;
  /** A random number from 0 up to, but not including, 1. */
  readonly random?: () => number;
}

/**
 * Measures the matching time of each live query, and charges it to the users who follow it. Users who share a live
 * query pay equal parts. The time of decisions about rights lowers the allowance of the user whose rights they are. If the
 * live queries of a user exceed `limits.workPerUser`, the most expensive ones end.
 */
export class WorkMeter {
  readonly #parts: WorkMeterParts;
  readonly #cpuMs: () => number;
  readonly #random: () => number;
  /** Time of each live query since the last judgement, in milliseconds. */
  readonly #spent = new Map<LiveQuery, number>();
  /**
   * Mean time for one commit, weighted towards the latest, for live queries that have ever taken `CHEAP_MS` or more.
   */
  readonly #means = new Map<LiveQuery, number>();
  readonly #searches = new Map<Searched, { ms: number }>();
  /**
   * Users who have exceeded their allowance during the present commit, with the time that a unit of estimated work of
   * their live queries took, in milliseconds.
   */
  readonly #exhausted = new Map<Account, number>();
  /** Time of decisions about rights since the last judgement, in milliseconds, by user. */
  readonly #rights = new Map<Account, number>();
  #sinceMs = 0;
  #judgedCpuMs: number;

  constructor(parts: WorkMeterParts) {
    this.#parts = parts;
    this.#cpuMs = parts.cpuMs ?? cpuMs;
    this.#random = parts.random ?? Math.random;
    this.#judgedCpuMs = this.#cpuMs();
  }

  /** A live query took `ms` milliseconds for one commit. */
  note(liveQuery: LiveQuery, ms: number): void {
    this.#sinceMs += ms;
    if (ms >= CHEAP_MS || this.#means.size > 0) this.#noteMean(liveQuery, ms);
    if (ms >= CHEAP_MS) this.#spend(liveQuery, ms);
    else if (this.#random() * CHEAP_MS < ms) this.#spend(liveQuery, CHEAP_MS);
  }

  /** The mean time for one commit, in milliseconds; 0 for a live query that was always cheap. */
  meanMs(liveQuery: LiveQuery): number {
    return this.#means.size === 0 ? 0 : (this.#means.get(liveQuery) ?? 0);
  }

  /** A live query took `ms` milliseconds for earlier commits. */
  noteCatchUp(liveQuery: LiveQuery, ms: number): void {
    this.#spend(liveQuery, ms);
    this.#sinceMs += ms;
  }

  /** The search for the live queries of a commit took `ms` milliseconds. */
  noteSearch(searched: Searched, ms: number): void {
    const known = this.#searches.get(searched);
    if (known === undefined) this.#searches.set(searched, { ms });
    else known.ms += ms;
    this.#sinceMs += ms;
  }

  /**
   * A decision about the rights of a user took `ms` milliseconds. Nothing ends for it, because somebody else may have
   * caused it: an editor of the rules, or a writer of the documents on which a set depends.
   */
  noteRights(account: Account, ms: number): void {
    this.#rights.set(account, (this.#rights.get(account) ?? 0) + ms);
    this.#sinceMs += ms;
  }

  forget(liveQuery: LiveQuery): void {
    this.#spent.delete(liveQuery);
    this.#means.delete(liveQuery);
  }

  /** A commit begins. Users who exceeded their allowance during the one before have paid for it. */
  beginCommit(): void {
    this.#exhausted.clear();
  }

  /** Whether a user has exceeded the allowance during the present commit. Then `shed` has to see each live query first. */
  get isTight(): boolean {
    return this.#exhausted.size > 0;
  }

  /**
   * Ends an expensive live query before its evaluation, if all its users have exceeded their allowance during this
   * commit. Otherwise hundreds of expensive live queries of one user would each be evaluated once before they end, and
   * the changes of all other users would wait for the sum.
   */
  shed(liveQuery: LiveQuery): void {
    const accounts = [...this.#parts.holdings.accountsOf(liveQuery)];
    const isTooMuch = (account: Account) => {
      const msPerUnit = this.#exhausted.get(account);
      if (msPerUnit === undefined) return false;
      const meanMs = this.meanMs(liveQuery);
      return (meanMs === 0 ? msPerUnit * queryWork(liveQuery.spec) : meanMs) >= SHED_MS;
    };
    if (accounts.length === 0 || !accounts.every(isTooMuch)) return;
    for (const account of accounts)
      this.#parts.end(liveQuery, account, account.errorOf("workPerUser", "ended"));
  }

  /** Whether so much was done since the last judgement that the next one cannot wait for the timer. */
  get isDue(): boolean {
    return this.#sinceMs >= JUDGE_AFTER_MS;
  }

  /** Charges the time since the last judgement, and ends the live queries that exceed their user's allowance. */
  judge(nowMs: number): void {
    const { metrics } = this.#parts;
    this.#shareSearches();
    const share = this.#cpuShare();
    const spent = new Map<Account, Spent>();
    for (const [account, ms] of this.#rights) account.work.lower(ms * share, nowMs);
    this.#rights.clear();
    let costliestMs = 0;
    for (const [liveQuery, spentMs] of this.#spent) {
      const accounts = this.#parts.holdings.accountsOf(liveQuery);
      costliestMs = Math.max(costliestMs, this.meanMs(liveQuery));
      const ms = (spentMs * share) / Math.max(1, accounts.size);
      for (const account of accounts) add(spent, account, liveQuery, ms);
    }
    metrics.matchSeconds.inc((this.#sinceMs * share) / 1_000);
    metrics.costliestLiveQuery.set(costliestMs / 1_000);
    this.#spent.clear();
    this.#sinceMs = 0;
    for (const [account, { ms, by }] of spent) {
      const available = account.work.spend(ms, nowMs);
      if (available < 0) this.#endCostliest(account, by, -available);
    }
  }

  #spend(liveQuery: LiveQuery, ms: number): void {
    this.#spent.set(liveQuery, (this.#spent.get(liveQuery) ?? 0) + ms);
  }

  #noteMean(liveQuery: LiveQuery, ms: number): void {
    const mean = this.#means.get(liveQuery);
    if (mean === undefined) {
      if (ms >= CHEAP_MS) this.#means.set(liveQuery, ms);
      return;
    }
    const next = mean + WEIGHT * (ms - mean);
    // Otherwise one slow commit, such as the first, would keep a cheap live query in this map for ever.
    if (next < FORGOTTEN_MS) this.#means.delete(liveQuery);
    else this.#means.set(liveQuery, next);
  }

  #shareSearches(): void {
    for (const [searched, { ms }] of this.#searches) {
      // Charging smaller amounts to each live query would cost more than the search itself.
      if (ms < SEARCH_MIN_MS || searched.size === 0) continue;
      for (const liveQuery of searched.items()) this.#spend(liveQuery, ms / searched.size);
    }
    this.#searches.clear();
  }

  #endCostliest(account: Account, by: Spent["by"], overMs: number): void {
    let left = overMs;
    let msPerUnit = 0;
    for (const { liveQuery, ms } of by.sort((a, b) => b.ms - a.ms)) {
      if (left <= 0) break;
      left -= ms;
      msPerUnit = Math.max(msPerUnit, ms / Math.max(1, queryWork(liveQuery.spec)));
      const { namespace } = liveQuery;
      const perCommitMs = Number(this.meanMs(liveQuery).toFixed(3));
      this.#parts.log.warn(
        { namespace, perCommitMs },
        "a live query exceeds its user's processing time; ending it for this user",
      );
      this.#parts.end(liveQuery, account, account.errorOf("workPerUser", "ended"));
    }
    account.work.forgive();
    this.#exhausted.set(account, msPerUnit);
  }

  /**
   * The share of the measured time in which this process ran. On an overloaded machine the clock also advances while
   * other processes run, and that time must not be charged to users.
   */
  #cpuShare(): number {
    const now = this.#cpuMs();
    const ranMs = now - this.#judgedCpuMs;
    this.#judgedCpuMs = now;
    return this.#sinceMs === 0 ? 1 : Math.min(1, ranMs / this.#sinceMs);
  }
}

/** Shorter searches since the last judgement, in milliseconds, are charged to nobody. */
const SEARCH_MIN_MS = 20;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
