/**
 * Serves the registrations of one partition while this process holds its lease. The position of the partition is saved
 * in the lease, after everything up to it was accepted by push services or saved. So the next holder continues from it
 * and loses nothing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Feed } from "../feed/feed.ts";
import type { LeaseTerm } from "../source/lease.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { PushStore, SavedRegistration } from "../source/push-store.ts";
import { HeldRegistration, type Holder, type PushParts, type RemovalReason } from "./held-registration.ts";
import { Openings } from "./openings.ts";

/** The store, each operation with a timeout. */
export type AnsweringStore = Pick<
  PushStore,
  "claim" | "load" | "written" | "taken" | "maySend" | "save" | "erase"
>;

/** The parts of a partition. */
export interface PartitionParts extends PushParts {
  readonly feed: Feed;
  readonly store: AnsweringStore;
}

/** How often everything that is due is done, in milliseconds. */
const TICK_MS = 1_000;
/**
 * How long the position waits for pushes that are on their way, in milliseconds. Most are accepted within this time, and
 * are never saved.
 */
const UNSAVED_MS = 2_000;
/** How long the position waits for registrations that are being opened, in milliseconds. */
const OPENING_MS = 30_000;
/** Registrations that are opened at once. The others follow in later turns. */
const OPENING_MAX = 500;

/** One partition, for one term of its lease. */
export class Partition implements Holder {
  readonly #number: number;
  readonly #term: LeaseTerm;
  readonly #parts: PartitionParts;
  readonly #held = new Map<string, HeldRegistration>();
  readonly openings = new Openings();
  #removed: SavedRegistration[] = [];
  #position: string | null;
  #beganAtMs = Date.now();
  /** Since when the position has waited; `null` if it is up to date. */
  #waitsSinceMs: number | null = null;

  constructor(number: number, term: LeaseTerm, parts: PartitionParts) {
    this.#number = number;
    this.#term = term;
    this.#parts = parts;
    const cursor: unknown = term.data?.["cursor"];
    this.#position = typeof cursor === "string" ? cursor : null;
  }

  get registrations(): Iterable<HeldRegistration> {
    return this.#held.values();
  }

  /**
   * Serves the partition until the term ends, or the process stops.
   * @throws The error of MongoDB, if the partition could not be taken over.
   */
  async run(stopping: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([stopping, this.#term.signal]);
    try {
      await this.#takeOver(ended);
      while (!ended.aborted) {
        await this.#tick().catch((error: unknown) => this.#postpone(error));
        await sleep(TICK_MS, undefined, { signal: ended }).catch(() => {}); // rejects when the partition ends
      }
      if (this.#term.isHeld) await this.#save(false).catch((error: unknown) => this.#postpone(error));
    } finally {
      for (const registration of this.#held.values()) registration.end();
      this.#held.clear();
    }
  }

  maySend(id: string): Promise<boolean> {
    if (!this.#term.isHeld) return Promise.resolve(false);
    return this.#parts.store.maySend(id, this.#term.fence, Date.now());
  }

  remove(registration: HeldRegistration, reason: RemovalReason): void {
    const { saved } = registration;
    registration.end();
    if (!this.#held.delete(saved.id)) return;
    this.#removed.push(saved);
    this.#parts.metrics.pushRemoved.inc({ reason });
  }

  async #takeOver(ended: AbortSignal): Promise<void> {
    const { store } = this.#parts;
    await store.claim(this.#number, this.#term.fence);
    for await (const batch of store.load(this.#number)) {
      for (const saved of batch) this.#add(saved);
      // The position waits for the first ones until the last ones were begun.
      this.#beganAtMs = Date.now();
      await this.openings.untilAtMost(OPENING_MAX, OPENING_MS, ended);
      // Clients are served between two batches.
      await new Promise(setImmediate);
      if (ended.aborted) return;
    }
  }

  #add(saved: SavedRegistration): void {
    if (saved.isRemoved) {
      this.#removed.push(saved);
      return;
    }
    const registration = new HeldRegistration(saved, this, this.#parts);
    this.#held.set(saved.id, registration);
    registration.begin(this.#position);
  }

  async #tick(): Promise<void> {
    const { store } = this.#parts;
    const { fence } = this.#term;
    const written = await store.written(this.#number);
    // Taken before they are served, because only the holder that has stamped a registration may send for it.
    await store.taken(written, fence);
    for (const saved of written) this.#take(saved);
    const nowMs = Date.now();
    for (const registration of [...this.#held.values()]) registration.sweep(nowMs);
    const removed = this.#removed;
    this.#removed = [];
    await store.erase(removed, fence).catch((error: unknown) => {
      // Not by `push(...removed)`: while MongoDB is away, more may be removed than a call may have arguments.
      this.#removed = [...removed, ...this.#removed];
      throw error;
    });
    await this.#save(true);
  }

  /** A client has made, renewed or removed a registration. */
  #take(saved: SavedRegistration): void {
    const known = this.#held.get(saved.id);
    if (saved.isRemoved) {
      if (known === undefined) this.#removed.push(saved);
      else {
        known.end();
        this.#held.delete(saved.id);
        this.#removed.push(saved);
        this.#parts.metrics.pushRemoved.inc({ reason: "deleted" });
      }
    } else if (known === undefined) this.#add(saved);
    else if (known.saved.revision !== saved.revision) known.renew(saved);
  }

  /** Saves what the next holder needs, and then the position. @param mayWait See `HeldRegistration.collect`. */
  async #save(mayWait: boolean): Promise<void> {
    const { feed, store } = this.#parts;
    if (!feed.timeline.isReady || !feed.timeline.isSettled) return;
    const nowMs = Date.now();
    const head = feed.timeline.codec.encode(feed.timeline.settledHead.position);
    const waitsForOpening = mayWait && nowMs - this.#beganAtMs < OPENING_MS;
    // Of the position, not of each push: somewhere in a busy partition a push has always just begun.
    const waitsForPushes = mayWait && nowMs - (this.#waitsSinceMs ?? nowMs) < UNSAVED_MS;
    let isComplete = true;
    const found = [];
    for (const registration of this.#held.values()) {
      const isOpening = registration.phase === "opening";
      const unsaved = registration.collect(head, nowMs, isOpening ? waitsForOpening : waitsForPushes);
      if (unsaved === "wait") isComplete = false;
      else if (unsaved !== null) found.push({ ...unsaved, of: registration.saved });
    }
    const states = found.map(({ of: { id, revision }, set }) => ({ id, revision, set }));
    if (!(await store.save(states, this.#term.fence))) isComplete = false;
    for (const { saved } of found) saved();
    this.#waitsSinceMs ??= nowMs;
    if (!isComplete || (head !== this.#position && !(await this.#term.save({ cursor: head })))) return;
    this.#position = head;
    this.#waitsSinceMs = null;
  }

  /** The next turn tries again. */
  #postpone(error: unknown): void {
    if (!isMongoFailure(error)) throw error;
    const { log } = this.#parts.context;
    log.debug(
      { err: error, partition: this.#number },
      "push registrations could not be read or saved; trying again",
    );
  }
}
