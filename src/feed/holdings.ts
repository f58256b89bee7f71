/**
 * Records who follows which live query. Limits and the choice of what to remove under memory pressure need both
 * directions: the live queries of a user, and the users of a live query.
 */
import { queryWork } from "../match/filter-work.ts";
import type { Account, Load } from "./account.ts";
import type { Delivery } from "./delivery.ts";
import type { LiveQuery } from "./live-query.ts";

/** The users who follow one live query, or the one who left it last, and its cost to them. */
interface Holding {
  readonly deliveries: Set<Delivery>;
  /** The users of these deliveries. */
  readonly accounts: Set<Account>;
  readonly load: { windowBytes: number; readonly filterWork: number };
  lingering: { readonly untilMs: number; readonly leftBy: Account } | null;
}

/** Windows change with almost every commit, so their bytes are charged again only once they differ by this much. */
const CHARGE_STEP_BYTES = 4_096;

/**
 * The live queries of this node and their users. A live query without deliveries lingers for a moment, charged to the
 * user who left it last, so that a page that reloads finds it again. Lingering live queries are the first to be removed
 * when memory is needed.
 */
export class Holdings {
  readonly #lingerMs: number;
  readonly #byQuery = new Map<LiveQuery, Holding>();
  /** Live queries without deliveries, the oldest first. */
  readonly #lingering = new Map<LiveQuery, Holding>();
  #windowBytes = 0;

  constructor(lingerMs: number) {
    this.#lingerMs = lingerMs;
  }

  /** The number of live queries that nobody follows now. */
  get lingering(): number {
    return this.#lingering.size;
  }

  /** Bytes of all windows, each counted once. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  add(liveQuery: LiveQuery): void {
    this.#byQuery.set(liveQuery, {
      deliveries: new Set(),
      accounts: new Set(),
      load: { windowBytes: 0, filterWork: queryWork(liveQuery.spec) },
      lingering: null,
    });
  }

  remove(liveQuery: LiveQuery): void {
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined) return;
    this.#endLingering(liveQuery, holding);
    for (const { account } of holding.deliveries) account.letGo(liveQuery, holding.load);
    this.#windowBytes -= holding.load.windowBytes;
    this.#byQuery.delete(liveQuery);
  }

  join(delivery: Delivery): void {
    const { liveQuery, account } = delivery;
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined || holding.deliveries.has(delivery)) return;
    this.#endLingering(liveQuery, holding);
    holding.deliveries.add(delivery);
    if (account.hold(liveQuery, holding.load)) holding.accounts.add(account);
  }

  leave(delivery: Delivery, nowMs: number): void {
    const { liveQuery, account } = delivery;
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined || !holding.deliveries.delete(delivery)) return;
    if (account.letGo(liveQuery, holding.load)) holding.accounts.delete(account);
    if (holding.deliveries.size > 0) return;
    holding.lingering = { untilMs: nowMs + this.#lingerMs, leftBy: account };
    this.#lingering.set(liveQuery, holding);
    account.leftBehind(liveQuery, holding.load);
  }

  /**
   * Charges the current size of a window to each of its users in full.
   * @returns The users who may have exceeded their share.
   */
  chargeWindow(liveQuery: LiveQuery): Iterable<Account> {
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined) return NOBODY;
    const bytes = liveQuery.state.heldBytes;
    const grown = bytes - holding.load.windowBytes;
    if (grown === 0 || (bytes !== 0 && Math.abs(grown) < CHARGE_STEP_BYTES)) return NOBODY;
    holding.load.windowBytes = bytes;
    this.#windowBytes += grown;
    for (const account of holding.accounts) account.growWindows(grown);
    holding.lingering?.leftBy.growWindows(grown);
    return grown > 0 ? holding.accounts : NOBODY;
  }

  /** The live queries that have lingered long enough. */
  expired(nowMs: number): LiveQuery[] {
    const expired: LiveQuery[] = [];
    // All linger for the same time, so the first one that may stay ends the search.
    for (const [liveQuery, { lingering }] of this.#lingering) {
      if (lingering !== null && lingering.untilMs > nowMs) break;
      expired.push(liveQuery);
    }
    return expired;
  }

  /** The live query that has lingered longest; with an account, among those that its user left. */
  oldestLingering(account: Account | null): LiveQuery | undefined {
    return account === null ? this.#lingering.keys().next().value : account.oldestLingering;
  }

  /** The live query with the largest window; with an account, among those that its user follows. */
  largestWindow(account: Account | null): LiveQuery | undefined {
    let largest: LiveQuery | undefined;
    for (const liveQuery of account?.held ?? this.#byQuery.keys()) {
      if (liveQuery.state.heldBytes > (largest?.state.heldBytes ?? 0)) largest = liveQuery;
    }
    return largest;
  }

  accountsOf(liveQuery: LiveQuery): ReadonlySet<Account> {
    return this.#byQuery.get(liveQuery)?.accounts ?? NOBODY;
  }

  /** The users to whom the window of a live query is charged: its followers, or the one who left it last. */
  payersOf(liveQuery: LiveQuery): Iterable<Account> {
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined) return NOBODY;
    return holding.lingering === null ? holding.accounts : [holding.lingering.leftBy];
  }

  /** The deliveries of a live query; with an account, only those of its user. */
  deliveriesOf(liveQuery: LiveQuery, account: Account | null = null): Delivery[] {
    const deliveries = [...(this.#byQuery.get(liveQuery)?.deliveries ?? [])];
    return account === null ? deliveries : deliveries.filter((delivery) => delivery.account === account);
  }

  isFollowed(liveQuery: LiveQuery): boolean {
    return (this.#byQuery.get(liveQuery)?.deliveries.size ?? 0) > 0;
  }

  loadOf(liveQuery: LiveQuery): Load | undefined {
    return this.#byQuery.get(liveQuery)?.load;
  }

  *allDeliveries(): Generator<Delivery> {
    for (const { deliveries } of this.#byQuery.values()) yield* deliveries;
  }

  #endLingering(liveQuery: LiveQuery, holding: Holding): void {
    holding.lingering?.leftBy.notLingering(liveQuery, holding.load);
    holding.lingering = null;
    this.#lingering.delete(liveQuery);
  }
}

const NOBODY: ReadonlySet<Account> = new Set();
