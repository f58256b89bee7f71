import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { Account } from "./account.ts";
import type { Holdings } from "./holdings.ts";
import type { LiveQuery } from "./live-query.ts";

/** How much of a new measurement goes into the mean cost of a change. */
const WEIGHT = 0.2;
/**
 * Less than this per commit, in milliseconds, is charged by lot: this whole amount, as often as makes the mean exact. To
 * write down every few microseconds would itself be a large part of the work.
 */
const CHEAP_MS = 0.05;
/** A mean time for one commit below this, in milliseconds, is not worth remembering. */
const FORGOTTEN_MS = 0.005;
/** At least so much work lies between two judgements, in milliseconds: until then no budget can be passed by much. */
const JUDGE_AFTER_MS = 50;

/** Where live queries are found: all that are filed share what finding takes. */
interface Searched {
  readonly size: number;
  items(): Iterable<LiveQuery>;
}

/** The parts that `WorkMeter` works with. */
export interface WorkMeterParts {
  readonly holdings: Holdings;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Ends what a user follows of a live query. */
  readonly end: (liveQuery: LiveQuery, account: Account, error: Error) => void;
  /** Milliseconds of this process's processor time. */
  readonly cpuMs?: () => number;
  /** A number from 0 up to, but not including, 1. */
  readonly random?: () => number;
}

/**
 * Measures the cost of matching, live query by live query, and charges it to the users who hold them. Users who share a
 * live query pay equal parts. The most expensive live queries of a user who exceeds `limits.workPerUser` end.
 */
export class WorkMeter {
  readonly #parts: WorkMeterParts;
  readonly #cpuMs: () => number;
  readonly #random: () => number;
  /** Time for each live query since the last judgement, in milliseconds. */
  readonly #spent = new Map<LiveQuery, number>();
  /** Mean time for one commit, weighted towards the latest, of those for which one took `CHEAP_MS` or more. */
  readonly #means = new Map<LiveQuery, number>();
  readonly #searches = new Map<Searched, { ms: number }>();
  #sinceMs = 0;
  #judgedCpuMs: number;

  constructor(parts: WorkMeterParts) {
    this.#parts = parts;
    this.#cpuMs = parts.cpuMs ?? cpuMs;
    this.#random = parts.random ?? Math.random;
    this.#judgedCpuMs = this.#cpuMs();
  }

  /** A live query took so long for one commit. */
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

  /** A live query took so long for earlier commits. */
  noteCatchUp(liveQuery: LiveQuery, ms: number): void {
    this.#spend(liveQuery, ms);
    this.#sinceMs += ms;
  }

  /** Finding those that a commit concerns took so long. */
  noteSearch(searched: Searched, ms: number): void {
    const known = this.#searches.get(searched);
    if (known === undefined) this.#searches.set(searched, { ms });
    else known.ms += ms;
    this.#sinceMs += ms;
  }

  forget(liveQuery: LiveQuery): void {
    this.#spent.delete(liveQuery);
    this.#means.delete(liveQuery);
  }

  /** Whether so much was done since the last judgement that it cannot wait for the next second. */
  get isDue(): boolean {
    return this.#sinceMs >= JUDGE_AFTER_MS;
  }

  /** Charges what was spent since the last judgement, and ends what its users may not spend. */
  judge(nowMs: number): void {
    const { metrics } = this.#parts;
    this.#shareSearches();
    const share = this.#cpuShare();
    const spent = new Map<Account, { ms: number; by: { liveQuery: LiveQuery; ms: number }[] }>();
    let costliestMs = 0;
    for (const [liveQuery, spentMs] of this.#spent) {
      const accounts = this.#parts.holdings.accountsOf(liveQuery);
      costliestMs = Math.max(costliestMs, this.meanMs(liveQuery));
      const ms = (spentMs * share) / Math.max(1, accounts.size);
      for (const account of accounts) {
        const sum = spent.get(account) ?? { ms: 0, by: [] };
        spent.set(account, sum);
        sum.ms += ms;
        sum.by.push({ liveQuery, ms });
      }
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
    // One slow commit, such as the first, must not keep a cheap live query here for ever.
    if (next < FORGOTTEN_MS) this.#means.delete(liveQuery);
    else this.#means.set(liveQuery, next);
  }

  #shareSearches(): void {
    for (const [searched, { ms }] of this.#searches) {
      // To look at each of them for less would itself be the larger cost.
      if (ms < SEARCH_MIN_MS || searched.size === 0) continue;
      for (const liveQuery of searched.items()) this.#spend(liveQuery, ms / searched.size);
    }
    this.#searches.clear();
  }

  #endCostliest(account: Account, by: { liveQuery: LiveQuery; ms: number }[], overMs: number): void {
    let left = overMs;
    for (const { liveQuery, ms } of by.sort((a, b) => b.ms - a.ms)) {
      if (left <= 0) break;
      left -= ms;
      const { namespace } = liveQuery;
      const perCommitMs = Number(this.meanMs(liveQuery).toFixed(3));
      this.#parts.log.warn(
        { namespace, perCommitMs },
        "a live query exceeds its user's processing time; ending it for this user",
      );
      this.#parts.end(liveQuery, account, account.errorOf("workPerUser", "ended"));
    }
    account.work.forgive();
  }

  /** Of the time that has passed during work, the part in which this process ran: a starved machine blames nobody. */
  #cpuShare(): number {
    const now = this.#cpuMs();
    const ranMs = now - this.#judgedCpuMs;
    this.#judgedCpuMs = now;
    return this.#sinceMs === 0 ? 1 : Math.min(1, ranMs / this.#sinceMs);
  }
}

/** Searches that took less since the last judgement are charged to nobody. */
const SEARCH_MIN_MS = 20;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
