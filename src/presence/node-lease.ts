/**
 * The lease of this node for presence: one document, which the node renews as long as it lives. Entries name the lease
 * under which they were written, so that other nodes know which entries nobody keeps any more.
 *
 * A client that reconnects to this node finds an entry that another node has written. This node then claims the entry: it
 * adds the id to its lease, with the next renewal, instead of writing the entry. So a mass reconnect writes no entries.
 */
import { type Deferred, deferred } from "../feed/deferred.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ItemsChange, LeaseStore } from "../source/lease-store.ts";
import { isMongoFailure } from "../source/mongo.ts";

/** The names of all leases of presence begin with this. */
export const LEASE_PREFIX = "presence/";
/** How long a node counts as alive after a renewal, in milliseconds. */
export const LEASE_MS = 5_000;
const RENEW_MS = LEASE_MS / 4;
/** A renewal that carries changes of the claims waits this long for more of them, in milliseconds. */
const CHANGE_MS = 200;

/** The parts that the lease works with. */
export interface NodeLeaseParts extends GuardParts {
  readonly store: LeaseStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly metrics: Metrics;
  /** The ids of the entries on this node. */
  readonly entries: () => Iterable<string>;
}

/** The lease of this node, and the entries of other nodes that it claims. */
export class NodeLease {
  /** The holder of this lease, and of those of dead nodes that this node has taken over. */
  readonly holder: string;
  readonly #parts: NodeLeaseParts;
  readonly #claims = new Set<string>();
  readonly #toAdd = new Set<string>();
  readonly #toRemove = new Set<string>();
  /** The claims that the renewal in progress changes. They are compared with what is wanted after its answer. */
  readonly #inFlight = new Set<string>();
  /** Settles with the next renewal, which saves the claims of this moment. */
  #next = nextRenewal();
  #isAwaited = false;
  #node: string;
  #fence = 0n;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | null = null;
  #isStopped = false;

  /** @param id Unique: no process has it, or had it before. */
  constructor(id: string, parts: NodeLeaseParts) {
    this.holder = id;
    this.#node = id;
    this.#parts = parts;
  }

  /** The name that entries of this node bear. It changes when other nodes took this one for dead. */
  get node(): string {
    return this.#node;
  }

  get name(): string {
    return LEASE_PREFIX + this.#node;
  }

  /** @throws The error of MongoDB. */
  async start(): Promise<void> {
    await this.#take();
    this.#schedule(RENEW_MS);
  }

  /** Other nodes delete the entries of this one after the ttl, unless their clients have reconnected. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    if (this.#renewing !== null) await this.#renewing;
    this.#next.resolve();
    const { store, answer, log } = this.#parts;
    try {
      await answer(() => store.releaseAll(LEASE_PREFIX, this.holder));
    } catch (err) {
      log.debug({ err }, "the lease of presence could not be released; it ends by itself");
    }
  }

  /**
   * Keeps other nodes from deleting an entry that another lease names.
   * @returns Settles when the claim is saved, so that it counts even if this node ends.
   * @throws The error of MongoDB. The claim is saved later.
   */
  async claim(id: string): Promise<void> {
    if (!this.#claims.has(id)) {
      this.#claims.add(id);
      if (!this.#inFlight.has(id) && !this.#toRemove.delete(id)) this.#toAdd.add(id);
      this.#changed();
    }
    if (!this.#inFlight.has(id) && !this.#toAdd.has(id)) return;
    this.#isAwaited = true;
    await this.#next.promise;
  }

  unclaim(id: string): void {
    if (!this.#claims.delete(id)) return;
    if (!this.#inFlight.has(id) && !this.#toAdd.delete(id)) this.#toRemove.add(id);
    this.#changed();
  }

  has(id: string): boolean {
    return this.#claims.has(id);
  }

  #changed(): void {
    this.#parts.metrics.presenceClaims.set(this.#claims.size);
    this.#schedule(CHANGE_MS);
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped || this.#renewing !== null) return;
    if (delayMs === CHANGE_MS && this.#isDueSoon) return;
    clearTimeout(this.#timer);
    this.#isDueSoon = delayMs === CHANGE_MS;
    const renew = guarded(this.#parts, "presence.lease", () => this.#renewNow());
    this.#timer = setTimeout(renew, delayMs).unref();
  }

  /** Whether a renewal is due that carries changes, so that it must not be put off by further ones. */
  #isDueSoon = false;

  async #renewNow(): Promise<void> {
    this.#isDueSoon = false;
    this.#renewing = this.#renew();
    let hasFailed = false;
    try {
      await this.#renewing;
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      hasFailed = true;
      this.#parts.log.debug({ err: error }, "the lease of presence was not renewed; trying again");
    } finally {
      this.#renewing = null;
      const hasMore = this.#isAwaited || this.#toAdd.size + this.#toRemove.size > 0;
      this.#schedule(hasMore && !hasFailed ? CHANGE_MS : RENEW_MS);
    }
  }

  async #renew(): Promise<void> {
    const { store, answer } = this.#parts;
    const { change, ids } = this.#nextChange();
    for (const id of ids) this.#inFlight.add(id);
    const saved = this.#next;
    this.#next = nextRenewal();
    this.#isAwaited = false;
    let isMine = true;
    try {
      const { name, holder } = this;
      isMine = await answer(() => store.renewItems({ name, fence: this.#fence, holder }, change));
      this.#settle(ids, change !== null && "add" in change);
    } catch (error) {
      // The change may have taken effect. Each of the two is harmless when it is repeated.
      this.#settle(ids, null);
      saved.reject(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    if (isMine) saved.resolve();
    else {
      // All claims are saved with the next renewal, under another name.
      this.#next.promise.then(saved.resolve, saved.reject);
      await this.#replace();
    }
  }

  /** Claims before the ends of claims: an entry that is not claimed in time is deleted. */
  #nextChange(): { readonly change: ItemsChange | null; readonly ids: readonly string[] } {
    const isAdding = this.#toAdd.size > 0;
    const wanted = isAdding ? this.#toAdd : this.#toRemove;
    const ids = [...wanted];
    wanted.clear();
    if (ids.length === 0) return { change: null, ids };
    return { change: isAdding ? { add: ids } : { remove: ids }, ids };
  }

  /**
   * A claim may have ended, or begun again, while its change was being written.
   * @param isSaved Whether the lease has the claims now; `null` if that is unknown.
   */
  #settle(ids: readonly string[], isSaved: boolean | null): void {
    for (const id of ids) {
      this.#inFlight.delete(id);
      const isWanted = this.#claims.has(id);
      if (isWanted !== isSaved) (isWanted ? this.#toAdd : this.#toRemove).add(id);
    }
  }

  /** Other nodes took this one for dead, and another one runs its lease. All entries are claimed under a new one. */
  async #replace(): Promise<void> {
    const { log, entries, metrics } = this.#parts;
    log.warn("other nodes took this one for dead: the entries of presence are claimed again");
    this.#node = `${this.holder}.${++this.#count}`;
    await this.#take();
    this.#claims.clear();
    this.#toAdd.clear();
    this.#toRemove.clear();
    for (const id of entries()) {
      this.#claims.add(id);
      this.#toAdd.add(id);
    }
    metrics.presenceClaims.set(this.#claims.size);
  }

  async #take(): Promise<void> {
    const { store, answer } = this.#parts;
    for (;;) {
      const seen = await answer(() => store.read(this.name));
      // An earlier attempt may have taken effect although its answer was lost.
      if (seen?.holder === this.holder) {
        this.#fence = seen.fence;
        return;
      }
      const taken = await answer(() => store.take(this.name, seen, this.holder, LEASE_MS, true));
      if (taken === null) continue;
      this.#fence = taken.fence;
      return;
    }
  }
}

function nextRenewal(): Deferred {
  const next = deferred();
  next.promise.catch(() => {}); // claims that wait for it receive the error
  return next;
}
