/**
 * Deletes entries that nobody keeps any more. The holder of the lease that an entry names decides about it, and asks the
 * leases of all nodes before: a node to which the client has reconnected claims the entry there.
 */
import type { LeaseStore } from "../source/lease-store.ts";
import type { EntryWrite, PresenceStore } from "../source/presence-store.ts";
import { LEASE_PREFIX } from "./node-lease.ts";

/** How many entries one round decides about. */
const ROUND_MAX = 2_000;

/** The parts that departures work with. */
export interface DeparturesParts {
  readonly leases: Pick<LeaseStore, "itemsAmong">;
  readonly entries: Pick<PresenceStore, "write">;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  /** Whether an entry is on this node, whose claim may not be saved yet. */
  readonly isHere: (id: string) => boolean;
  /** Entries were deleted. */
  readonly onDeleted: (count: number) => void;
}

/** An entry to delete. */
interface Departure {
  /** The lease that the entry must still name; `null` to delete it in any case. */
  readonly node: string | null;
  /** Another node claimed it when it was looked at. */
  isClaimed: boolean;
}

/** The entries that are to be deleted by this node. */
export class Departures {
  readonly #parts: DeparturesParts;
  readonly #byId = new Map<string, Departure>();
  /** How many there are for each lease. */
  readonly #counts = new Map<string, number>();
  /** Those that are being deleted, until that has been answered. */
  readonly #deleting = new Map<string, Promise<void>>();
  /** How many are not known to be claimed by another node. */
  #open = 0;

  constructor(parts: DeparturesParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** How many entries of a lease are still to be deleted. */
  countOf(node: string): number {
    return this.#counts.get(node) ?? 0;
  }

  /** @param node The lease that the entry must still name; `null` to delete it in any case. */
  add(id: string, node: string | null): void {
    this.#forget(id);
    this.#byId.set(id, { node, isClaimed: false });
    this.#open++;
    if (node !== null) this.#counts.set(node, this.countOf(node) + 1);
  }

  /**
   * The client is here again.
   * @returns Settles when it is certain that the entry is not being deleted.
   */
  async cancel(id: string): Promise<void> {
    this.#forget(id);
    await this.#deleting.get(id);
  }

  /** Forgets the entries of a lease that another node runs. */
  forgetAllOf(node: string): void {
    for (const [id, departure] of this.#byId) if (departure.node === node) this.#forget(id);
  }

  /** Claims have ended on some node, so that all entries are to be looked at again. */
  lookAgain(): void {
    for (const departure of this.#byId.values()) {
      if (departure.isClaimed) this.#open++;
      departure.isClaimed = false;
    }
  }

  /**
   * Deletes the entries that no node claims.
   * @throws The error of MongoDB. Nothing is forgotten then.
   */
  async run(): Promise<void> {
    while (this.#open > 0) await this.#round();
  }

  async #round(): Promise<void> {
    const { leases, answer, isHere } = this.#parts;
    const round = this.#nextRound();
    const asked = [...round].flatMap(([id, { node }]) => (node === null ? [] : [id]));
    const claimed =
      asked.length === 0 ? new Set<string>() : await answer(() => leases.itemsAmong(LEASE_PREFIX, asked));
    const writes: EntryWrite[] = [];
    for (const [id, departure] of round) {
      // The client has come back meanwhile.
      if (this.#byId.get(id) !== departure || departure.isClaimed) continue;
      if (claimed.has(id) || isHere(id)) {
        departure.isClaimed = true;
        this.#open--;
      } else writes.push(departure.node === null ? { delete: id } : { delete: id, node: departure.node });
    }
    if (writes.length > 0) await this.#delete(writes);
  }

  #nextRound(): Map<string, Departure> {
    const round = new Map<string, Departure>();
    for (const [id, departure] of this.#byId) {
      if (!departure.isClaimed) round.set(id, departure);
      if (round.size === ROUND_MAX) break;
    }
    return round;
  }

  async #delete(writes: readonly EntryWrite[]): Promise<void> {
    const { entries, answer, onDeleted } = this.#parts;
    const ids = writes.flatMap((write) => ("delete" in write ? [write.delete] : []));
    const before = ids.map((id) => this.#byId.get(id));
    const deleting = answer(() => entries.write(writes));
    const settled = deleting.catch(() => {}); // reported below
    for (const id of ids) this.#deleting.set(id, settled);
    try {
      await deleting;
      onDeleted(ids.length);
      // If an entry was added again since, it is to be deleted again.
      for (const [i, id] of ids.entries()) if (this.#byId.get(id) === before[i]) this.#forget(id);
    } finally {
      for (const id of ids) if (this.#deleting.get(id) === settled) this.#deleting.delete(id);
    }
  }

  #forget(id: string): void {
    const departure = this.#byId.get(id);
    if (departure === undefined) return;
    this.#byId.delete(id);
    if (!departure.isClaimed) this.#open--;
    const { node } = departure;
    if (node === null) return;
    const left = this.countOf(node) - 1;
    if (left > 0) this.#counts.set(node, left);
    else this.#counts.delete(node);
  }
}
