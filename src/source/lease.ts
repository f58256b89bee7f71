/**
 * Leases: of all processes of a deployment, at most one does a piece of work at a time, such as filling the shared tail.
 *
 * - A process takes the lease (`Lease.compete`), and receives a `LeaseTerm` with a fencing number, `fence`. Each holder
 *   has a higher number than the one before.
 * - The term renews itself. It ends, and `signal` aborts, when another process has taken the lease over, or when no
 *   renewal was confirmed within `ttlMs`.
 * - No decision compares clocks of two machines. `lease-watch.ts` says how a candidate knows that the holder has stopped.
 * - A process that is frozen between its check of `isHeld` and a write may still send that write later. So only a write
 *   that names its fence is safe: `save` is refused for every fence but the newest. To protect another document, keep
 *   the fence in it, and let each new holder write its fence there before it reads.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Document } from "mongodb";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { LeaseStore } from "./lease-store.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { isMongoFailure } from "./mongo.ts";

/** A process renews this often within `ttlMs`, and candidates look as often. */
const LOOKS_PER_TTL = 4;

/** The parts that a lease works with. */
export interface LeaseParts extends GuardParts {
  readonly store: LeaseStore;
  /** Runs an operation on the state database, with a timeout. */
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
}

/** The identity of a candidate, and the length of a term without a renewal. */
export interface LeaseOptions {
  readonly name: string;
  /** A name that no other process has, and none has had before. */
  readonly holder: string;
  readonly ttlMs: number;
}

/** A candidate for one lease. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #parts: LeaseParts;

  constructor(options: LeaseOptions, parts: LeaseParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Waits until this process holds the lease. @returns `null` if `signal` aborts before. */
  async compete(signal: AbortSignal): Promise<LeaseTerm | null> {
    const watch = new LeaseWatch();
    const pauseMs = this.#options.ttlMs / LOOKS_PER_TTL;
    while (!signal.aborted) {
      const { term, waitMs } = await this.#look(watch);
      if (term !== null && signal.aborted) await term.release();
      else if (term !== null) return term;
      // A part is random, because all candidates of a fleet look at the same document.
      const restMs = Math.min(waitMs, pauseMs) * (0.75 + Math.random() / 4) + 1;
      await sleep(restMs, undefined, { signal }).catch(() => {}); // rejects when the signal aborts
    }
    return null;
  }

  async #look(watch: LeaseWatch): Promise<{ term: LeaseTerm | null; waitMs: number }> {
    const { name, holder, ttlMs } = this.#options;
    const { store, answer, log } = this.#parts;
    try {
      const askedAtMs = performance.now();
      const seen = await answer(() => store.read(name));
      const waitMs = watch.waitMs(seen, askedAtMs, performance.now());
      if (waitMs > 0) return { term: null, waitMs };
      const takenAtMs = performance.now();
      const taken = await answer(() => store.take(name, seen, holder, ttlMs));
      if (taken === null) return { term: null, waitMs: ttlMs };
      const { fence, data } = taken;
      return { term: new LeaseTerm({ name, ttlMs, fence, data }, takenAtMs, this.#parts), waitMs: 0 };
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      log.debug({ err: error, lease: name }, "the lease could not be read or taken; trying again");
      return { term: null, waitMs: ttlMs };
    }
  }
}

/** Why a term has ended. */
export type TermEnd = "taken-over" | "expired" | "released";

/** The time during which this process holds a lease. */
export class LeaseTerm {
  /** Higher than that of every holder before. */
  readonly fence: bigint;
  /** The data that an earlier holder has saved last; `null` if nothing was ever saved. */
  readonly data: Document | null;
  readonly #name: string;
  readonly #ttlMs: number;
  readonly #parts: LeaseParts;
  readonly #abort = new AbortController();
  #heldUntilMs: number;
  #renewal: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;

  /** @param takenAtMs When this process asked for the lease, on its monotonic clock. */
  constructor(
    { name, ttlMs, fence, data }: { name: string; ttlMs: number; fence: bigint; data: Document | null },
    takenAtMs: number,
    parts: LeaseParts,
  ) {
    this.#name = name;
    this.#ttlMs = ttlMs;
    this.fence = fence;
    this.data = data;
    this.#parts = parts;
    this.#heldUntilMs = takenAtMs + ttlMs;
    this.#extend(takenAtMs);
    this.#scheduleRenewal();
  }

  /** Whether this process may act as the holder now. */
  get isHeld(): boolean {
    // The timer of the expiry is late in a process that was frozen. The clock is not.
    if (performance.now() >= this.#heldUntilMs) this.#end("expired");
    return !this.#abort.signal.aborted;
  }

  /** Aborts when the term ends, with the `TermEnd` as its reason. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Saves data for this and later holders. The data of an earlier fence never replace those of a later one.
   * @returns `false` if the lease has another holder. The term ends then.
   * @throws The error of MongoDB. The data may have been saved.
   */
  async save(data: Document): Promise<boolean> {
    return this.isHeld && this.#renew(data);
  }

  /** Ends the term, and lets another process take the lease at once. */
  async release(): Promise<void> {
    if (!this.isHeld) return;
    this.#end("released");
    const { store, answer, log } = this.#parts;
    try {
      await answer(() => store.release(this.#name, this.fence));
    } catch (error) {
      // Other processes take the lease after its ttl.
      if (!isMongoFailure(error)) throw error;
      log.debug({ err: error, lease: this.#name }, "the lease could not be released");
    }
  }

  async #renew(data?: Document): Promise<boolean> {
    const { store, answer } = this.#parts;
    const askedAtMs = performance.now();
    const isMine = await answer(() => store.renew(this.#name, this.fence, data));
    if (!isMine) this.#end("taken-over");
    // The server has counted from a later time than `askedAtMs`, so this process stops before any other takes over.
    else if (this.isHeld) this.#extend(askedAtMs);
    return isMine;
  }

  #extend(askedAtMs: number): void {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, askedAtMs + this.#ttlMs);
    this.#scheduleExpiry();
  }

  #scheduleExpiry(): void {
    clearTimeout(this.#expiry);
    const expire = guarded(this.#parts, "source.lease", () => {
      // A timer may fire up to a millisecond early.
      if (this.isHeld) this.#scheduleExpiry();
    });
    this.#expiry = setTimeout(expire, this.#heldUntilMs - performance.now() + 1).unref();
  }

  #scheduleRenewal(): void {
    const renew = guarded(this.#parts, "source.lease", async () => {
      if (!this.isHeld) return;
      try {
        await this.#renew();
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        this.#parts.log.debug({ err: error, lease: this.#name }, "the lease was not renewed; trying again");
      }
      if (this.isHeld) this.#scheduleRenewal();
    });
    this.#renewal = setTimeout(renew, this.#ttlMs / LOOKS_PER_TTL).unref();
  }

  #end(reason: TermEnd): void {
    clearTimeout(this.#renewal);
    clearTimeout(this.#expiry);
    this.#abort.abort(reason);
  }
}
