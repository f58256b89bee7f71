import type { Feed } from "../feed/feed.ts";
import type { HistoryEntry } from "../feed/history.ts";
import type { LookupHolder, LookupSet } from "../feed/lookup-set.ts";
import type { BoundLookup, LookupValues } from "../rules/authorize.ts";

/** The lookup sets that one subscription's rights depend on. */
export class HeldLookups implements LookupHolder {
  readonly #feed: Feed;
  readonly #sets = new Map<string, LookupSet>();
  readonly #onChanged: (at: HistoryEntry | null) => void;
  #released = false;

  /**
   * @param onChanged A set differs from this commit on; `null`: a set is not known any more, and is held no longer.
   *   Must not throw.
   */
  constructor(feed: Feed, onChanged: (at: HistoryEntry | null) => void) {
    this.#feed = feed;
    this.#onChanged = onChanged;
  }

  /** What is in a set that is held; `null` for any other. */
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
    this.#onChanged(at);
  }

  lookupLost(): void {
    for (const [key, set] of this.#sets) this.#letGo(key, set);
    this.#onChanged(null);
  }

  #letGo(key: string, set: LookupSet): void {
    this.#sets.delete(key);
    set.holders.delete(this);
    this.#feed.lookups.release(set);
  }
}
