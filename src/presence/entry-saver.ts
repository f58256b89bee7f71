/**
 * Reads and writes entries in batches, and keeps the order of writes to each entry. A deletion that fails is
 * repeated as soon as MongoDB answers again.
 */
import type { GuardParts } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { toBsonData } from "../rules/admit-entry.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { EntryWrite, PresenceStore, SavedEntry } from "../source/presence-store.ts";
import { Batches } from "./batches.ts";
import type { Departures } from "./departures.ts";
import type { HeldEntry } from "./held-entry.ts";
import type { NodeLease } from "./node-lease.ts";

/** Reads and writes wait this long for others, in milliseconds. A new entry waits for both. */
const BATCH_MS = 25;

/** The parts that the saver works with. */
export interface EntrySaverParts extends GuardParts {
  readonly store: PresenceStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly lease: NodeLease;
  readonly departures: Departures;
  readonly metrics: Metrics;
}

/** An entry to look for. */
interface Wanted {
  readonly id: string;
  found: SavedEntry | undefined;
}

/** Saves the entries of this node. */
export class EntrySaver {
  readonly #parts: EntrySaverParts;
  readonly #reads: Batches<Wanted>;
  readonly #writes: Batches<EntryWrite>;
  /** The deletions in progress. An entry with the same id waits for them. */
  readonly #deleting = new Map<string, Promise<void>>();

  constructor(parts: EntrySaverParts) {
    this.#parts = parts;
    this.#reads = new Batches(BATCH_MS, parts, (wanted) => this.#read(wanted));
    this.#writes = new Batches(BATCH_MS, parts, (writes) => this.#write(writes));
  }

  /**
   * Writes a new entry, unless it is there with the same data. Then the client was here within the ttl, on whichever node,
   * and nothing is written, but the claim if another node has written the entry.
   * @throws The error of MongoDB.
   */
  async open(entry: HeldEntry): Promise<void> {
    const { departures, lease } = this.#parts;
    const { id } = entry.facts;
    await this.#deleting.get(id);
    await departures.cancel(id);
    const found = await this.#find(id);
    if (entry.isOver) return;
    if (found === undefined || differs(found, entry)) {
      await this.put(entry);
      return;
    }
    try {
      await this.keep(id, found.node);
    } catch (error) {
      // The client is refused, so that nobody keeps the entry here.
      lease.unclaim(id);
      throw error;
    }
  }

  /**
   * The client of an entry of this node has entered again, and may have been on another node since: this node claims the
   * entry if another one has written it, and writes its data again if they have changed.
   * @throws The error of MongoDB.
   */
  async reopen(entry: HeldEntry): Promise<void> {
    const { id } = entry.facts;
    await this.#parts.departures.cancel(id);
    const found = await this.#find(id);
    if (entry.isOver) return;
    if (found === undefined || differs(found, entry)) entry.isUnsaved = true;
    else await this.keep(id, found.node);
  }

  /**
   * Keeps an entry of this node, whichever lease it names.
   * @param node The lease that the entry names.
   * @throws The error of MongoDB. The claim is saved later.
   */
  async keep(id: string, node: string): Promise<void> {
    const { lease } = this.#parts;
    if (node !== lease.node) await lease.claim(id);
  }

  /**
   * Writes the data of an entry. Of several writes in one batch the last one counts.
   * @throws The error of MongoDB. The data may have been written.
   */
  async put(entry: HeldEntry): Promise<void> {
    const { lease, departures, metrics } = this.#parts;
    const { dataText } = entry;
    const { id, room, user, iss, since } = entry.facts;
    const { node } = lease;
    const data = toBsonData(JSON.parse(dataText));
    try {
      await this.#writes.add({
        put: { _id: id, room, user, ...(iss === null ? {} : { iss }), data, node },
        since,
      });
    } catch (error) {
      entry.isUnsaved = true;
      // If nobody keeps the entry, it must not stay.
      departures.add(id, node);
      throw error;
    }
    metrics.presenceWrites.inc({ operation: "put" });
    if (entry.dataText === dataText) entry.isUnsaved = false;
    if (node === lease.node) lease.unclaim(id);
  }

  /** Deletes an entry now, or as soon as MongoDB answers. Rejects for no reason but a bug. */
  async delete(id: string): Promise<void> {
    const deleting = this.#delete(id);
    this.#deleting.set(id, deleting);
    try {
      await deleting;
    } finally {
      if (this.#deleting.get(id) === deleting) this.#deleting.delete(id);
    }
  }

  /** The ttl of an entry of this node is over. It is deleted unless it is on another node now. */
  depart(id: string): void {
    const { lease, departures } = this.#parts;
    // The node that wrote the entry deletes it when no claim is left.
    if (lease.has(id)) lease.unclaim(id);
    else departures.add(id, lease.node);
  }

  /** The entry does not exist any more. */
  forget(id: string): void {
    this.#parts.lease.unclaim(id);
  }

  /** @throws The error of MongoDB. */
  async exists(id: string): Promise<boolean> {
    return (await this.#find(id)) !== undefined;
  }

  /** Writes everything that waits. */
  async flush(): Promise<void> {
    await this.#reads.flush();
    await this.#writes.flush();
  }

  async #find(id: string): Promise<SavedEntry | undefined> {
    const wanted: Wanted = { id, found: undefined };
    await this.#reads.add(wanted);
    return wanted.found;
  }

  async #delete(id: string): Promise<void> {
    const { lease, departures, metrics } = this.#parts;
    await departures.cancel(id);
    try {
      await this.#writes.add({ delete: id });
      metrics.presenceWrites.inc({ operation: "delete" });
      lease.unclaim(id);
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      departures.add(id, null);
      lease.unclaim(id);
    }
  }

  async #read(wanted: readonly Wanted[]): Promise<void> {
    const { store, answer } = this.#parts;
    const ids = [...new Set(wanted.map(({ id }) => id))];
    const found = await answer(() => store.read(ids));
    for (const one of wanted) one.found = found.get(one.id);
  }

  async #write(writes: readonly EntryWrite[]): Promise<void> {
    const { store, answer } = this.#parts;
    const last = new Map(writes.map((write) => ["delete" in write ? write.delete : write.put._id, write]));
    await answer(() => store.write([...last.values()]));
  }
}

/** Whether an entry is saved with other data, or without the issuer that followers must see. */
function differs({ data, iss }: SavedEntry, { facts, dataText }: HeldEntry): boolean {
  return JSON.stringify(data) !== dataText || (facts.iss !== null && iss !== facts.iss);
}
