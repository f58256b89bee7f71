/**
 * Looks at the leases of all other nodes. When a node has shown no sign of life for the length of its lease and the ttl of
 * entries, one of the others takes its lease over, and deletes the entries that nobody has claimed. No decision compares
 * the clocks of two machines (see `source/lease-watch.ts`).
 */
import type { Logger } from "pino";
import type { LeaseStore, ListedLease } from "../source/lease-store.ts";
import { LeaseWatch } from "../source/lease-watch.ts";
import type { PresenceStore } from "../source/presence-store.ts";
import type { Departures } from "./departures.ts";
import { LEASE_MS, LEASE_PREFIX, type NodeLease } from "./node-lease.ts";

/** Entries of a dead node that are in memory at a time. */
const IDS_MAX = 50_000;
/** The leases that this node runs for dead ones are renewed this often, in milliseconds. */
const RENEW_MS = LEASE_MS / 4;

/** The parts that the watch works with. */
export interface OtherNodesParts {
  readonly leases: LeaseStore;
  readonly entries: Pick<PresenceStore, "idsOf">;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly own: NodeLease;
  readonly departures: Departures;
  readonly log: Logger;
}

/** The last state of a lease that was seen. */
interface Seen {
  readonly watch: LeaseWatch;
  fence: bigint;
  removals: bigint;
}

/** The leases of the other nodes. */
export class OtherNodes {
  readonly #ttlMs: number;
  readonly #parts: OtherNodesParts;
  readonly #seen = new Map<string, Seen>();
  /** The leases of dead nodes that this node runs, with their fences. */
  readonly #estates = new Map<string, bigint>();
  #renewedAtMs = 0;

  constructor(ttlMs: number, parts: OtherNodesParts) {
    this.#ttlMs = ttlMs;
    this.#parts = parts;
  }

  /** @throws The error of MongoDB. */
  async look(): Promise<void> {
    const { leases, answer, own, departures } = this.#parts;
    const askedAtMs = performance.now();
    const listed = await answer(() => leases.list(LEASE_PREFIX));
    const answeredAtMs = performance.now();
    for (const lease of listed) {
      if (this.#noteSeen(lease)) departures.lookAgain();
      if (lease.name === own.name || this.#isMine(lease)) continue;
      const waitMs = this.#seen.get(lease.name)?.watch.waitMs(lease, askedAtMs, answeredAtMs);
      if (waitMs === 0) await this.#takeOver(lease);
    }
    this.#forgetAllBut(new Set(listed.map(({ name }) => name)));
    await this.#runEstates();
  }

  /** @returns Whether claims may have ended since the last look. */
  #noteSeen({ name, fence, removals }: ListedLease): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined) {
      this.#seen.set(name, { watch: new LeaseWatch(this.#ttlMs), fence, removals });
      return false;
    }
    const hasChanged = seen.fence !== fence || seen.removals !== removals;
    seen.fence = fence;
    seen.removals = removals;
    return hasChanged;
  }

  #isMine({ name, fence, holder }: ListedLease): boolean {
    const known = this.#estates.get(name);
    if (known === undefined) return false;
    if (known === fence && holder === this.#parts.own.holder) return true;
    this.#estates.delete(name);
    this.#parts.departures.forgetAllOf(nodeOf(name));
    return false;
  }

  async #takeOver(lease: ListedLease): Promise<void> {
    const { leases, answer, own, log, departures } = this.#parts;
    const taken = await answer(() => leases.take(lease.name, lease, own.holder, LEASE_MS));
    if (taken === null) return; // another node was faster
    this.#estates.set(lease.name, taken.fence);
    // Its claims are gone.
    departures.lookAgain();
    log.info({ node: nodeOf(lease.name) }, "a node has ended: this one deletes its entries of presence");
  }

  /** Entries that are claimed by other nodes stay, and with them the lease that they name. */
  async #runEstates(): Promise<void> {
    if (this.#estates.size === 0) return;
    const { leases, entries, answer, own, departures } = this.#parts;
    const nowMs = performance.now();
    if (nowMs - this.#renewedAtMs >= RENEW_MS) {
      this.#renewedAtMs = nowMs;
      await answer(() => leases.renewAll(LEASE_PREFIX, own.holder));
    }
    for (const [name, fence] of this.#estates) {
      const node = nodeOf(name);
      if (departures.countOf(node) > 0) continue;
      const ids = await answer(() => entries.idsOf(node, IDS_MAX));
      for (const id of ids) departures.add(id, node);
      if (ids.length > 0) continue;
      await answer(() => leases.remove(name, fence));
      this.#estates.delete(name);
    }
  }

  #forgetAllBut(names: ReadonlySet<string>): void {
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    for (const name of this.#estates.keys()) if (!names.has(name)) this.#estates.delete(name);
  }
}

const nodeOf = (name: string) => name.slice(LEASE_PREFIX.length);
