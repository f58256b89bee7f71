import type { Account } from "./account.ts";
import type { Delivery } from "./delivery.ts";
import type { LiveQuery } from "./live-query.ts";

/** Who follows one live query, or who left it last. */
interface Holding {
  readonly deliveries: Set<Delivery>;
  lingering: { readonly untilMs: number; readonly leftBy: Account } | null;
}

/**
 * The live queries of this node and who holds each. A live query without deliveries lingers for a moment, charged to
 * the user who left it last: a page that reloads finds it again. What lingers goes first when there must be room.
 */
export class Holdings {
  readonly #lingerMs: number;
  readonly #byQuery = new Map<LiveQuery, Holding>();
  /** Those without deliveries; the oldest first. */
  readonly #lingering = new Map<LiveQuery, Holding>();

  constructor(lingerMs: number) {
    this.#lingerMs = lingerMs;
  }

  /** Live queries that nobody follows now. */
  get lingering(): number {
    return this.#lingering.size;
  }

  add(liveQuery: LiveQuery): void {
    this.#byQuery.set(liveQuery, { deliveries: new Set(), lingering: null });
  }

  remove(liveQuery: LiveQuery): void {
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined) return;
    this.#endLingering(liveQuery, holding);
    for (const { account } of holding.deliveries) account.letGo(liveQuery);
    this.#byQuery.delete(liveQuery);
  }

  has(liveQuery: LiveQuery): boolean {
    return this.#byQuery.has(liveQuery);
  }

  join(delivery: Delivery): void {
    const { liveQuery, account } = delivery;
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined || holding.deliveries.has(delivery)) return;
    this.#endLingering(liveQuery, holding);
    holding.deliveries.add(delivery);
    account.hold(liveQuery);
  }

  /** @returns A live query that this user left behind earlier and that has to go for it, if any. */
  leave(delivery: Delivery, nowMs: number): LiveQuery | undefined {
    const { liveQuery, account } = delivery;
    const holding = this.#byQuery.get(liveQuery);
    if (holding === undefined || !holding.deliveries.delete(delivery)) return undefined;
    account.letGo(liveQuery);
    if (holding.deliveries.size > 0) return undefined;
    holding.lingering = { untilMs: nowMs + this.#lingerMs, leftBy: account };
    this.#lingering.set(liveQuery, holding);
    account.leftBehind(liveQuery);
    return account.lingersTooMuch ? account.oldestLingering : undefined;
  }

  /** The live queries that have lingered long enough. */
  expired(nowMs: number): LiveQuery[] {
    const expired: LiveQuery[] = [];
    // All linger for the same time, so the first that may stay ends the search.
    for (const [liveQuery, { lingering }] of this.#lingering) {
      if (lingering !== null && lingering.untilMs > nowMs) break;
      expired.push(liveQuery);
    }
    return expired;
  }

  /** The live query that has lingered longest. */
  get oldestLingering(): LiveQuery | undefined {
    return this.#lingering.keys().next().value;
  }

  deliveriesOf(liveQuery: LiveQuery): ReadonlySet<Delivery> {
    return this.#byQuery.get(liveQuery)?.deliveries ?? NONE;
  }

  *allDeliveries(): Generator<Delivery> {
    for (const { deliveries } of this.#byQuery.values()) yield* deliveries;
  }

  #endLingering(liveQuery: LiveQuery, holding: Holding): void {
    holding.lingering?.leftBy.notLingering(liveQuery);
    holding.lingering = null;
    this.#lingering.delete(liveQuery);
  }
}

const NONE: ReadonlySet<Delivery> = new Set();
