/**
 * Ties lookup sets to the rights of one subscription. A set is shared by all users whose rules ask for it, so a
 * subscription must release it exactly once, however it ends.
 */
import type { Feed } from "../../feed/feed.ts";
import type { HistoryEntry } from "../../feed/history.ts";
import type { LookupHolder, LookupSet } from "../../feed/lookup-set.ts";
import type { Payer } from "../../feed/turn.ts";
import type { BoundLookup, LookupValues } from "../../rules/bind-rule.ts";

/** The owner of rights that depend on the sets. */
export interface RightsOwner {
  /** A set differs from this commit on; `null` if a set is no longer known and was released. */
  rightsChanged(lookups: HeldLookups, at: HistoryEntry | null): void;
  /** The change could not be processed, so nothing may be pushed any more. Never throws. */
  rightsFailed(error: unknown): void;
}

const NO_SETS: readonly LookupSet[] = [];

/** The lookup sets on which the rights of one subscription depend. */
export class HeldLookups implements LookupHolder {
  readonly #feed: Feed;
  /** Created for the first set, because most rights depend on none. */
  #sets: Map<string, LookupSet> | null = null;
  readonly #owner: RightsOwner;
  readonly #payer: Payer;
  #released = false;

  /** @param payer The user in whose queue the reads of sets wait. */
  constructor(feed: Feed, owner: RightsOwner, payer: Payer) {
    this.#feed = feed;
    this.#owner = owner;
    this.#payer = payer;
  }

  /** The values of a held set; `null` for any other. */
  get values(): LookupValues {
    return (lookup) => this.#sets?.get(lookup.key)?.values ?? null;
  }

  get sets(): readonly LookupSet[] {
    return this.#sets === null ? NO_SETS : [...this.#sets.values()];
  }

  /**
   * Reads the sets, or joins sets that were read already.
   * @throws {TidewireError} A set cannot be read.
   */
  async acquire(lookups: readonly BoundLookup[]): Promise<void> {
    for (const lookup of lookups) {
      if (this.#sets?.has(lookup.key)) continue;
      const set = await this.#acquire(lookup);
      if (this.#released || this.#sets?.has(lookup.key)) this.#feed.lookups.release(set);
      else this.#hold(set);
    }
  }

  /**
   * Acquires a set that is still kept. It may have been lost after it was read and before this continues; its holders were
   * notified of that, and this is not one yet.
   */
  async #acquire(lookup: BoundLookup): Promise<LookupSet> {
    for (;;) {
      const set = await this.#feed.lookups.acquire(lookup, this.#payer);
      if (this.#feed.lookups.keeps(set)) return set;
      this.#feed.lookups.release(set);
    }
  }

  /**
   * Takes the sets synchronously, if all of them were read already for other subscriptions.
   * @returns Whether they were.
   */
  acquireAtOnce(lookups: readonly BoundLookup[]): boolean {
    const sets = this.#feed.lookups.acquireAtOnce(lookups);
    for (const set of sets ?? []) {
      if (this.#sets?.has(set.spec.key)) this.#feed.lookups.release(set);
      this.#hold(set);
    }
    return sets !== null;
  }

  /** Releases the sets on which the rights do not depend any more. */
  keepOnly(lookups: readonly BoundLookup[]): void {
    if (this.#sets === null) return;
    const keys = new Set(lookups.map(({ key }) => key));
    for (const [key, set] of this.#sets) if (!keys.has(key)) this.#letGo(key, set);
  }

  release(): void {
    this.#released = true;
    this.#letGoAll();
  }

  lookupChanged(at: HistoryEntry): void {
    this.#owner.rightsChanged(this, at);
  }

  lookupLost(): void {
    this.#letGoAll();
    this.#owner.rightsChanged(this, null);
  }

  fail(error: unknown): void {
    this.#owner.rightsFailed(error);
  }

  #hold(set: LookupSet): void {
    this.#sets ??= new Map();
    set.holders.add(this);
    this.#sets.set(set.spec.key, set);
  }

  #letGoAll(): void {
    for (const [key, set] of this.#sets ?? []) this.#letGo(key, set);
  }

  #letGo(key: string, set: LookupSet): void {
    this.#sets?.delete(key);
    set.holders.delete(this);
    this.#feed.lookups.release(set);
  }
}
