import type { Feed } from "../../feed/feed.ts";
import type { HistoryEntry } from "../../feed/history.ts";
import type { LookupHolder, LookupSet } from "../../feed/lookup-set.ts";
import type { BoundLookup, LookupValues } from "../../rules/authorize.ts";

/** Whose rights depend on the sets. */
export interface RightsOwner {
  /** A set differs from this commit on; `null`: a set is not known any more, and is held no longer. */
  rightsChanged(at: HistoryEntry | null): void;
  /** The change could not be dealt with: nothing may be pushed any more. Never throws. */
  rightsFailed(error: unknown): void;
}

/** The lookup sets that one subscription's rights depend on. */
export class HeldLookups implements LookupHolder {
  readonly #feed: Feed;
  readonly #sets = new Map<string, LookupSet>();
  readonly #owner: RightsOwner;
  #released = false;

  constructor(feed: Feed, owner: RightsOwner) {
    this.#feed = feed;
    this.#owner = owner;
  }

  /** The values of a set that is held; `null` for any other. */
  readonly values: LookupValues = (lookup) => this.#sets.get(lookup.key)?.values ?? null;

  get sets(): readonly LookupSet[] {
    return [...this.#sets.values()];
  }

  /** Reads the sets, or joins those that are read already. @throws {TidewireError} */
  async acquire(lookups: readonly BoundLookup[]): Promise<void> {
    for (const lookup of lookups) {
      if (this.#sets.has(lookup.key)) continue;
      const set = await this.#feed.lookups.acquire(lookup);
      if (this.#released || this.#sets.has(lookup.key)) {
        this.#feed.lookups.release(set);
        continue;
      }
      set.holders.add(this);
      this.#sets.set(lookup.key, set);
    }
  }

  /** Takes the sets at once, if all of them have been read for somebody already; whether they have. */
  acquireAtOnce(lookups: readonly BoundLookup[]): boolean {
    const sets = this.#feed.lookups.acquireAtOnce(lookups);
    for (const set of sets ?? []) {
      if (this.#sets.has(set.spec.key)) this.#feed.lookups.release(set);
      set.holders.add(this);
      this.#sets.set(set.spec.key, set);
    }
    return sets !== null;
  }

  /** Lets go of the sets that the rights do not depend on any more. */
  keepOnly(lookups: readonly BoundLookup[]): void {
    const keys = new Set(lookups.map(({ key }) => key));
    for (const [key, set] of this.#sets) if (!keys.has(key)) this.#letGo(key, set);
  }

  release(): void {
    this.#released = true;
    for (const [key, set] of this.#sets) this.#letGo(key, set);
  }

  lookupChanged(at: HistoryEntry): void {
    this.#owner.rightsChanged(at);
  }

  lookupLost(): void {
    for (const [key, set] of this.#sets) this.#letGo(key, set);
    this.#owner.rightsChanged(null);
  }

  fail(error: unknown): void {
    this.#owner.rightsFailed(error);
  }

  #letGo(key: string, set: LookupSet): void {
    this.#sets.delete(key);
    set.holders.delete(this);
    this.#feed.lookups.release(set);
  }
}
