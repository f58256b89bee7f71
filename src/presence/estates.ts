/**
 * The entries about which this node decides: its own, and those of the leases that it runs for dead nodes, their *estates*.
 *
 * This node keeps no list of the entries that other nodes claim. When a claim ends, the lease that had it names the entry
 * (`claimsEnded`). When it is unknown which claims have ended, and now and then in any case, this node walks through its
 * entries in batches.
 */
import type { LeaseStore } from "../source/lease-store.ts";
import type { PresenceStore } from "../source/presence-store.ts";
import { type Departures, ROUND_MAX } from "./departures.ts";
import { LEASE_MS, LEASE_PREFIX, type NodeLease } from "./node-lease.ts";

/** The leases of dead nodes are renewed this often, in milliseconds. */
const RENEW_MS = LEASE_MS / 4;
/**
 * A walk through all entries begins this often, in milliseconds. It finds entries that a frozen node has written late, and
 * those whose end was not noticed.
 */
export const RESCAN_MS = 60_000;
/**
 * The lease of a dead node is kept for this many looks after it was taken over, also if no entry names it. Every other node
 * must see that its claims have ended: a lease that is missing may still claim entries. Time would be no measure, because
 * all nodes stop looking while MongoDB does not answer.
 */
export const EMPTY_LOOKS = 20;
/** A walk goes on for this long in one turn, in milliseconds, if claims have ended. */
const TURN_MS = 300;

/** The parts that estates work with. */
export interface EstatesParts {
  readonly leases: Pick<LeaseStore, "renewAll" | "remove">;
  readonly entries: Pick<PresenceStore, "idsOf" | "amongThoseOf">;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly own: Pick<NodeLease, "node" | "holder">;
  readonly departures: Departures;
  /** Whether an entry is on this node. */
  readonly isHere: (id: string) => boolean;
}

/** The lease of a dead node that this node runs. */
interface Estate {
  readonly fence: bigint;
  /** The number of looks when it was taken over. */
  readonly takenAtLook: number;
}

/** The position of a walk through the entries of one lease. */
interface Walk {
  readonly node: string;
  /** The last entry that was looked at. */
  after: string;
}

/** The leases whose entries this node decides about. */
export class Estates {
  readonly #parts: EstatesParts;
  /** By the names of the nodes. */
  readonly #estates = new Map<string, Estate>();
  /** How often this node has looked at all leases. */
  #looks = 0;
  /** The nodes through whose entries a walk is to begin. */
  readonly #toWalk = new Set<string>();
  /** Estates of which entries were deleted, so that they may be empty. */
  readonly #touched = new Set<string>();
  #walk: Walk | null = null;
  /** Whether entries wait that are to be deleted now. */
  #isUrgent = false;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #rescanAtMs: number;

  constructor(nowMs: number, parts: EstatesParts) {
    this.#parts = parts;
    this.#rescanAtMs = nowMs + RESCAN_MS;
  }

  /** The fence under which this node runs an estate. */
  fenceOf(node: string): bigint | undefined {
    return this.#estates.get(node)?.fence;
  }

  /** The leases of dead nodes that this node runs. */
  get nodes(): Iterable<string> {
    return this.#estates.keys();
  }

  /** This node has taken the lease of a dead node over. */
  add(node: string, fence: bigint): void {
    this.#estates.set(node, { fence, takenAtLook: this.#looks });
    this.#toWalk.add(node);
    this.#isUrgent = true;
  }

  /** Another node runs the lease, or it is gone. */
  drop(node: string): void {
    this.#estates.delete(node);
    this.#toWalk.delete(node);
    this.#touched.delete(node);
    if (this.#walk?.node === node) this.#walk = null;
  }

  /** Any claims may have ended. */
  walkAll(): void {
    for (const node of this.#all()) this.#toWalk.add(node);
    this.#isUrgent = true;
  }

  /**
   * Claims on these entries have ended.
   * @throws The error of MongoDB. To be repeated then.
   */
  async claimsEnded(ids: readonly string[]): Promise<void> {
    const { entries, answer, departures, isHere } = this.#parts;
    for (let at = 0; at < ids.length; at += ROUND_MAX) {
      const some = ids.slice(at, at + ROUND_MAX).filter((id) => !isHere(id));
      const found = await answer(() => entries.amongThoseOf(this.#all(), some));
      for (const [id, node] of found) {
        departures.add(id, node);
        this.#touched.add(node);
      }
    }
  }

  /** This node has looked at all leases. Keeps those of dead nodes. @throws The error of MongoDB. */
  async looked(nowMs: number): Promise<void> {
    this.#looks++;
    if (this.#estates.size === 0 || nowMs - this.#renewedAtMs < RENEW_MS) return;
    this.#renewedAtMs = nowMs;
    const { leases, answer, own } = this.#parts;
    await answer(() => leases.renewAll(LEASE_PREFIX, own.holder));
  }

  /**
   * Decides about the entries of which it is time.
   * @returns Whether more of them wait.
   * @throws The error of MongoDB. The next turn continues.
   */
  async work(nowMs: number): Promise<boolean> {
    if (nowMs >= this.#rescanAtMs) {
      this.#rescanAtMs = nowMs + RESCAN_MS;
      for (const node of this.#all()) this.#toWalk.add(node);
    }
    const endMs = performance.now() + TURN_MS;
    do {
      // A lease is missing that may claim entries.
      if (!(await this.#parts.departures.run())) return false;
      if (!(await this.#step())) this.#isUrgent = false;
    } while (this.#isUrgent && performance.now() < endMs);
    await this.#removeEmpty();
    return this.#isUrgent;
  }

  #all(): string[] {
    return [this.#parts.own.node, ...this.#estates.keys()];
  }

  /** @returns Whether the walk goes on. */
  async #step(): Promise<boolean> {
    const { entries, answer, departures, isHere } = this.#parts;
    const walk = this.#walk ?? this.#nextWalk();
    if (walk === null) return false;
    const ids = await answer(() => entries.idsOf(walk.node, walk.after, ROUND_MAX));
    for (const id of ids) if (!isHere(id)) departures.add(id, walk.node);
    if (!(await departures.run())) return false;
    walk.after = ids.at(-1) ?? walk.after;
    if (ids.length === ROUND_MAX) return true;
    this.#touched.add(walk.node);
    if (this.#walk === walk) this.#walk = null;
    return this.#toWalk.size > 0;
  }

  #nextWalk(): Walk | null {
    const [node] = this.#toWalk;
    if (node === undefined) return null;
    this.#toWalk.delete(node);
    this.#walk = { node, after: "" };
    return this.#walk;
  }

  /** The lease of a dead node stays until all nodes know that its claims have ended, and no entry names it. */
  async #removeEmpty(): Promise<void> {
    const { leases, entries, answer } = this.#parts;
    for (const node of this.#touched) {
      const estate = this.#estates.get(node);
      if (estate !== undefined && this.#looks - estate.takenAtLook <= EMPTY_LOOKS) continue;
      if (estate !== undefined && this.#walk?.node !== node) {
        const [left] = await answer(() => entries.idsOf(node, "", 1));
        if (left === undefined) {
          await answer(() => leases.remove(LEASE_PREFIX + node, estate.fence));
          this.drop(node);
        }
      }
      this.#touched.delete(node);
    }
  }
}
