/**
 * Finds entries that name a lease which does not exist: its document was removed, or a node that was frozen has written them after
 * its lease had ended. When they have been seen for the length of a lease and the ttl, this node makes the lease again, and
 * so becomes the one that decides about them.
 */
import type { LeaseStore } from "../source/lease-store.ts";
import type { PresenceStore } from "../source/presence-store.ts";
import type { Estates } from "./estates.ts";
import { LEASE_MS, LEASE_PREFIX, type NodeLease } from "./node-lease.ts";

/** The names in entries are read this often, in milliseconds. */
const LOOK_MS = 2_000;

/** The parts that the search works with. */
export interface OrphansParts {
  readonly leases: Pick<LeaseStore, "take">;
  readonly entries: Pick<PresenceStore, "nodes">;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly own: Pick<NodeLease, "node" | "holder">;
  readonly estates: Estates;
}

/** The names of leases that entries bear, and that do not exist. */
export class Orphans {
  readonly #waitMs: number;
  readonly #parts: OrphansParts;
  readonly #sinceMs = new Map<string, number>();
  #lookAtMs = Number.NEGATIVE_INFINITY;

  /** @param waitMs How long a lease must have been missing, in milliseconds. */
  constructor(waitMs: number, parts: OrphansParts) {
    this.#waitMs = waitMs;
    this.#parts = parts;
  }

  /**
   * Looks for such names, if it is time.
   * @param leases The names of all leases, read before.
   * @returns The nodes whose leases were made again.
   * @throws The error of MongoDB.
   */
  async look(leases: ReadonlySet<string>, nowMs: number): Promise<string[]> {
    if (nowMs < this.#lookAtMs) return [];
    this.#lookAtMs = nowMs + LOOK_MS;
    const { entries, answer, own } = this.#parts;
    const named = await answer(() => entries.nodes());
    const missing = named.filter((node) => node !== own.node && !leases.has(LEASE_PREFIX + node));
    for (const node of this.#sinceMs.keys()) if (!missing.includes(node)) this.#sinceMs.delete(node);
    const adopted: string[] = [];
    for (const node of missing) {
      const sinceMs = this.#sinceMs.get(node);
      if (sinceMs === undefined) this.#sinceMs.set(node, performance.now());
      else if (nowMs - sinceMs >= this.#waitMs && (await this.#adopt(node))) adopted.push(node);
    }
    return adopted;
  }

  async #adopt(node: string): Promise<boolean> {
    const { leases, answer, own, estates } = this.#parts;
    this.#sinceMs.delete(node);
    const taken = await answer(() => leases.take(LEASE_PREFIX + node, null, own.holder, LEASE_MS));
    if (taken === null) return false; // another node was faster
    estates.add(node, taken.fence);
    return true;
  }
}
