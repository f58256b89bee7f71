/**
 * Deletes entries that nobody keeps any more. The holder of the lease that an entry names decides about it, and asks the
 * leases of all nodes before: a node to which the client has reconnected claims the entry there. A claimed entry is
 * forgotten here. When its claim ends, `Estates` finds it again.
 */
import type { LeaseStore } from "../source/lease-store.ts";
import type { EntryWrite, PresenceStore } from "../source/presence-store.ts";
import { LEASE_PREFIX } from "./node-lease.ts";

/** How many entries one round decides about. */
export const ROUND_MAX = 5_000;

/** The parts that departures work with. */
export interface DeparturesParts {
  readonly leases: Pick<LeaseStore, "itemsAmong">;
  readonly entries: Pick<PresenceStore, "write">;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  /** Whether an entry is on this node, whose claim may not be saved yet. */
  readonly isHere: (id: string) => boolean;
  /** Whether a lease that may claim entries is missing among these names. */
  readonly isClaimerMissing: (names: ReadonlySet<string>) => boolean;
  /** Entries were deleted. */
  readonly onDeleted: (count: number) => void;
}

/** An entry to delete. */
interface Departure {
  /** The lease that the entry must still name; `null` to delete it in any case. */
  readonly node: string | null;
}

/** The entries that are to be deleted by this node. */
export class Departures {
  readonly #parts: DeparturesParts;
  readonly #byId = new Map<string, Departure>();
  /** Those that are being deleted, until that has been answered. */
  readonly #deleting = new Map<string, Promise<void>>();

  constructor(parts: DeparturesParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** @param node The lease that the entry must still name; `null` to delete it in any case. */
  add(id: string, node: string | null): void {
    this.#byId.set(id, { node });
  }

  /**
   * The client is here again.
   * @returns Settles when it is certain that the entry is not being deleted.
   */
  async cancel(id: string): Promise<void> {
    this.#byId.delete(id);
    await this.#deleting.get(id);
  }

  /**
   * Deletes the entries that no node claims, and forgets the others.
   * @returns Whether all were decided. Otherwise a lease that may claim them is missing, and nothing was decided.
   * @throws The error of MongoDB. Nothing is forgotten then.
   */
  async run(): Promise<boolean> {
    while (this.#byId.size > 0) if (!(await this.#round())) return false;
    return true;
  }

  async #round(): Promise<boolean> {
    const { leases, answer, isHere, isClaimerMissing } = this.#parts;
    const round = this.#nextRound();
    const asked = [...round].flatMap(([id, { node }]) => (node === null ? [] : [id]));
    const found = asked.length === 0 ? null : await answer(() => leases.itemsAmong(LEASE_PREFIX, asked));
    if (found !== null && isClaimerMissing(found.names)) return false;
    const writes: EntryWrite[] = [];
    for (const [id, departure] of round) {
      // The client has come back meanwhile.
      if (this.#byId.get(id) !== departure) continue;
      if (found?.items.has(id) === true || isHere(id)) this.#byId.delete(id);
      else writes.push(departure.node === null ? { delete: id } : { delete: id, node: departure.node });
    }
    if (writes.length > 0) await this.#delete(writes);
    return true;
  }

  #nextRound(): Map<string, Departure> {
    const round = new Map<string, Departure>();
    for (const [id, departure] of this.#byId) {
      if (round.size === ROUND_MAX) break;
      round.set(id, departure);
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
      for (const [i, id] of ids.entries()) if (this.#byId.get(id) === before[i]) this.#byId.delete(id);
    } finally {
      for (const id of ids) if (this.#deleting.get(id) === settled) this.#deleting.delete(id);
    }
  }
}
