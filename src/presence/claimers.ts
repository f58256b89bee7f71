import type { ListedLease } from "../source/lease-store.ts";

/**
 * The leases that claim entries. If the document of one of them is missing, because somebody has removed it, its node
 * makes another one within seconds. Until then no entry may be deleted, because that node may claim it.
 */
export class Claimers {
  readonly #waitMs: number;
  /** By name, since when the lease has been missing; `null` if it is there. */
  readonly #missingSinceMs = new Map<string, number | null>();

  /** @param waitMs How long a lease is waited for that is missing, in milliseconds. */
  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /**
   * Notes all leases of this moment.
   * @returns The names of leases that have begun to be missing.
   */
  note(listed: readonly ListedLease[], nowMs: number): string[] {
    const names = new Set<string>();
    for (const { name, hasItems } of listed) {
      names.add(name);
      if (hasItems) this.#missingSinceMs.set(name, null);
      else this.#missingSinceMs.delete(name);
    }
    const lost: string[] = [];
    for (const [name, sinceMs] of this.#missingSinceMs) {
      if (names.has(name)) continue;
      if (sinceMs === null) lost.push(name);
      if (sinceMs !== null && nowMs - sinceMs >= this.#waitMs) this.#missingSinceMs.delete(name);
      else this.#missingSinceMs.set(name, sinceMs ?? nowMs);
    }
    return lost;
  }

  /** The claims of a lease have ended. */
  ended(name: string): void {
    this.#missingSinceMs.delete(name);
  }

  /** Whether a lease that may claim entries is not among these names. */
  isMissingAmong(names: ReadonlySet<string>): boolean {
    for (const name of this.#missingSinceMs.keys()) if (!names.has(name)) return true;
    return false;
  }
}
