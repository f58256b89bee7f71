/**
 * Looks at the leases of all other nodes. When a node has shown no sign of life for the length of its lease and the ttl of
 * entries, one of the others takes its lease over, and deletes the entries that nobody has claimed. No decision compares
 * the clocks of two machines (see `source/lease-watch.ts`).
 */
import type { Logger } from "pino";
import type { LeaseStore, ListedLease } from "../source/lease-store.ts";
import { LeaseWatch } from "../source/lease-watch.ts";
import type { PresenceStore } from "../source/presence-store.ts";
import { Claimers } from "./claimers.ts";
import type { Departures } from "./departures.ts";
import { Estates } from "./estates.ts";
import { LEASE_MS, LEASE_PREFIX, type NodeLease } from "./node-lease.ts";
import { Orphans } from "./orphans.ts";

/** The parts that the watch works with. */
export interface OtherNodesParts {
  readonly leases: LeaseStore;
  readonly entries: PresenceStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly own: NodeLease;
  readonly departures: Departures;
  /** Whether an entry is on this node. */
  readonly isHere: (id: string) => boolean;
  readonly log: Logger;
}

/** The last state of a lease that was seen. */
interface Seen {
  readonly watch: LeaseWatch;
  fence: bigint;
  removals: bigint;
  hasItems: boolean;
}

/** The leases of the other nodes. */
export class OtherNodes {
  readonly #ttlMs: number;
  readonly #parts: OtherNodesParts;
  readonly #seen = new Map<string, Seen>();
  readonly #estates: Estates;
  readonly #orphans: Orphans;
  readonly #claimers: Claimers;

  constructor(ttlMs: number, parts: OtherNodesParts) {
    const deadMs = LEASE_MS + ttlMs;
    this.#ttlMs = ttlMs;
    this.#parts = parts;
    this.#estates = new Estates(performance.now(), parts);
    this.#orphans = new Orphans(deadMs, { ...parts, estates: this.#estates });
    this.#claimers = new Claimers(deadMs);
  }

  /** Whether a lease that may claim entries is not among these names. */
  isClaimerMissing(names: ReadonlySet<string>): boolean {
    return this.#claimers.isMissingAmong(names);
  }

  /** @throws The error of MongoDB. */
  async look(): Promise<void> {
    const { leases, answer, own, log } = this.#parts;
    const askedAtMs = performance.now();
    const listed = await answer(() => leases.list(LEASE_PREFIX));
    const answeredAtMs = performance.now();
    for (const name of this.#claimers.note(listed, answeredAtMs)) {
      log.warn(
        { node: nodeOf(name) },
        "the lease of a node was removed: no entry of presence is deleted now",
      );
      // If the lease stays missing, its claims have ended. Deletions wait until then.
      this.#estates.walkAll();
    }
    await this.#noteEnds(listed);
    for (const lease of listed) {
      const { watch } = this.#seenOf(lease.name);
      const waitMs = watch.waitMs(lease, askedAtMs, answeredAtMs);
      if (lease.name !== own.name && !this.#isMine(lease) && waitMs === 0) await this.#takeOver(lease);
    }
    const names = new Set(listed.map(({ name }) => name));
    this.#forgetAllBut(names);
    await this.#estates.looked(askedAtMs);
    for (const node of await this.#orphans.look(names, askedAtMs))
      log.info(
        { node },
        "entries of presence name a lease that does not exist: this node decides about them",
      );
  }

  /** Decides about entries. @returns Whether more of them wait. @throws The error of MongoDB. */
  work(): Promise<boolean> {
    return this.#estates.work(performance.now());
  }

  /** Finds the entries whose claims have ended since the last look. */
  async #noteEnds(listed: readonly ListedLease[]): Promise<void> {
    const { leases, answer } = this.#parts;
    const since = new Map<string, bigint>();
    for (const { name, fence, removals } of listed) {
      const seen = this.#seen.get(name);
      // The claims of a dead node end when its lease is taken over.
      if (seen?.hasItems === true && seen.fence !== fence) this.#estates.walkAll();
      else if (seen !== undefined && seen.removals !== removals) since.set(name, seen.removals);
    }
    const read = new Map<string, bigint>();
    if (since.size > 0) {
      for (const { name, removals, items } of await answer(() => leases.removedItems(since))) {
        if (items === null) this.#estates.walkAll();
        else await this.#estates.claimsEnded(items);
        read.set(name, removals);
      }
    }
    // Only now: if the state database fails, the next look asks for the same.
    for (const { name, fence, hasItems, removals } of listed)
      Object.assign(this.#seenOf(name), { fence, hasItems, removals: read.get(name) ?? removals });
  }

  #seenOf(name: string): Seen {
    let seen = this.#seen.get(name);
    if (seen === undefined) {
      seen = { watch: new LeaseWatch(this.#ttlMs), fence: 0n, removals: 0n, hasItems: false };
      this.#seen.set(name, seen);
    }
    return seen;
  }

  #isMine({ name, fence, holder }: ListedLease): boolean {
    const node = nodeOf(name);
    const known = this.#estates.fenceOf(node);
    const isHeldHere = holder === this.#parts.own.holder;
    if (known === undefined) {
      // The answer to its take-over was lost. All leases of this holder are renewed, so no other node would take it.
      if (isHeldHere) this.#estates.add(node, fence);
      return isHeldHere;
    }
    if (known === fence && isHeldHere) return true;
    this.#estates.drop(node);
    return false;
  }

  async #takeOver(lease: ListedLease): Promise<void> {
    const { leases, answer, own, log } = this.#parts;
    const taken = await answer(() => leases.take(lease.name, lease, own.holder, LEASE_MS));
    if (taken === null) return; // another node was faster
    const node = nodeOf(lease.name);
    this.#estates.add(node, taken.fence);
    if (lease.hasItems) {
      this.#estates.walkAll();
      this.#claimers.ended(lease.name);
    }
    Object.assign(this.#seenOf(lease.name), { fence: taken.fence, hasItems: false });
    log.info({ node }, "a node has ended: this one deletes its entries of presence");
  }

  #forgetAllBut(names: ReadonlySet<string>): void {
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    for (const node of [...this.#estates.nodes]) {
      if (!names.has(LEASE_PREFIX + node)) this.#estates.drop(node);
    }
  }
}

const nodeOf = (name: string) => name.slice(LEASE_PREFIX.length);
