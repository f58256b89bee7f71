/**
 * Bounds the memory of sorted live queries. A window can grow while it is followed, after it was admitted, so the
 * budget is enforced when windows change and not only when a client subscribes.
 */
import { type GuardParts, runGuarded } from "../metrics/guard.ts";
import { type Account, type OnLimit, tooMany } from "./account.ts";
import type { Holdings } from "./holdings.ts";
import type { LiveQuery } from "./live-query.ts";
import type { FeedLimits } from "./options.ts";
import type { ReadingCharge } from "./reading-charge.ts";

/** The actions of the budget on live queries. Both run between two batches of commits. */
export interface WindowActions {
  /** Removes a live query without followers. */
  remove(liveQuery: LiveQuery): void;
  /** Ends the deliveries that a user, or every user, has of a live query. */
  end(liveQuery: LiveQuery, account: Account | null, error: Error): void;
  /** Settles when no commit is being delivered. */
  settled(): Promise<void>;
}

/**
 * Bounds the memory of sorted live queries: sort values, `_id`s, and documents that are kept or in transit. The node
 * has a budget, and each user a share of it. Live queries without followers are removed first.
 */
export class WindowBudget {
  readonly #limits: Pick<FeedLimits, "windowBytes" | "userWindowBytes">;
  readonly #holdings: Holdings;
  readonly #actions: WindowActions;
  readonly #onLimit: OnLimit;
  readonly #guard: GuardParts;
  /** Users who exceed their share, with the live query that grew. */
  readonly #over = new Map<Account, LiveQuery>();
  /** Users without room for documents that a live query reads. */
  readonly #refused: { readonly account: Account; readonly liveQuery: LiveQuery }[] = [];
  #readingBytes = 0;
  #isEnforcing = false;

  constructor(
    limits: Pick<FeedLimits, "windowBytes" | "userWindowBytes">,
    holdings: Holdings,
    actions: WindowActions,
    onLimit: OnLimit,
    guard: GuardParts,
  ) {
    this.#limits = limits;
    this.#holdings = holdings;
    this.#actions = actions;
    this.#onLimit = onLimit;
    this.#guard = guard;
  }

  /** Bytes of sorted results that are being read or sent. */
  get readingBytes(): number {
    return this.#readingBytes;
  }

  /** To be called when the window of a live query was loaded, has changed, or was dropped. */
  changed(liveQuery: LiveQuery): void {
    for (const account of this.#holdings.chargeWindow(liveQuery)) {
      if (account.isOverWindows()) this.#over.set(account, liveQuery);
    }
    this.#enforceIfOver();
  }

  /**
   * Makes room for a window that a delivery is about to follow.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  admit(account: Account): void {
    if (!this.#makeRoom(account, 0)) throw account.errorOf("userWindowBytes", "refused");
    if (!this.#makeRoom(null, 0)) throw this.#refusal();
  }

  /** The charge for a sorted result that is read on behalf of a user. */
  reading(account: Account): ReadingCharge {
    let held = 0;
    let payer = account;
    const grow = (bytes: number) => {
      held += bytes;
      this.#readingBytes += bytes;
      payer.growWindows(bytes);
    };
    return {
      add: (bytes) => {
        if (!this.#makeRoom(payer, bytes)) throw payer.errorOf("userWindowBytes", "refused");
        if (!this.#makeRoom(null, bytes)) throw this.#refusal();
        grow(bytes);
      },
      moveTo: (next) => {
        if (next === payer) return true;
        if (!this.#makeRoom(next, held)) return false;
        payer.growWindows(-held);
        next.growWindows(held);
        payer = next;
        return true;
      },
      sub: (bytes) => grow(-Math.min(bytes, held)),
      release: () => grow(-held),
    };
  }

  /**
   * The charge for documents that a live query reads while it is followed. Each of its users is charged for all of them, as
   * for its window. Users without room for them lose the live query, and the read continues for the others.
   */
  readingFor(liveQuery: LiveQuery): Pick<ReadingCharge, "add" | "release"> {
    const held = new Map<Account, number>();
    const refused = new Set<Account>();
    const giveBack = (account: Account) => {
      account.growWindows(-(held.get(account) ?? 0));
      held.delete(account);
    };
    let total = 0;
    return {
      add: (bytes) => {
        if (!this.#makeRoom(null, bytes)) throw this.#refusal();
        total += bytes;
        this.#readingBytes += bytes;
        for (const account of this.#holdings.payersOf(liveQuery)) {
          if (refused.has(account)) continue;
          if (this.#makeRoom(account, bytes)) {
            held.set(account, (held.get(account) ?? 0) + bytes);
            account.growWindows(bytes);
          } else {
            refused.add(account);
            giveBack(account);
            this.#refused.push({ account, liveQuery });
          }
        }
        this.#enforceIfOver();
        if (held.size === 0) throw tooMany("userWindowBytes", this.#limits.userWindowBytes);
      },
      release: () => {
        this.#readingBytes -= total;
        total = 0;
        for (const account of [...held.keys()]) giveBack(account);
      },
    };
  }

  /**
   * Removes lingering live queries until there is room for `bytes` more.
   * @returns Whether there is.
   */
  #makeRoom(account: Account | null, bytes: number): boolean {
    const isOver = () => (account === null ? this.#isOverNode(bytes) : account.isOverWindows(bytes));
    while (isOver()) {
      const oldest = this.#holdings.oldestLingering(account);
      if (oldest === undefined) return false;
      this.#actions.remove(oldest);
    }
    return true;
  }

  #isOverNode(bytes = 0): boolean {
    return this.#holdings.windowBytes + this.#readingBytes + bytes > this.#limits.windowBytes;
  }

  #enforceIfOver(): void {
    const isOver = this.#over.size > 0 || this.#refused.length > 0 || this.#isOverNode();
    if (this.#isEnforcing || !isOver) return;
    runGuarded(this.#guard, "windows.enforce", () => this.#enforceSoon());
  }

  async #enforceSoon(): Promise<void> {
    this.#isEnforcing = true;
    try {
      // A window that was just loaded may still be refused to the user for whom it was read, which makes room without
      // ending anything.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#actions.settled();
      this.#enforce();
    } finally {
      this.#isEnforcing = false;
    }
  }

  /**
   * Ends the live queries of users who have no room for what they read, and windows that have grown while they were
   * followed: first the one that grew, then the largest, until the rest fits.
   */
  #enforce(): void {
    for (const { account, liveQuery } of this.#refused.splice(0)) {
      if (this.#holdings.deliveriesOf(liveQuery, account).length === 0) continue;
      this.#actions.end(liveQuery, account, account.errorOf("userWindowBytes", "ended"));
    }
    for (const [account, grown] of this.#over) {
      while (!this.#makeRoom(account, 0)) {
        const isFollowed = this.#holdings.deliveriesOf(grown, account).length > 0;
        const next = isFollowed ? grown : this.#holdings.largestWindow(account);
        if (next === undefined) break;
        this.#actions.end(next, account, account.errorOf("userWindowBytes", "ended"));
      }
    }
    this.#over.clear();
    while (!this.#makeRoom(null, 0)) {
      const largest = this.#holdings.largestWindow(null);
      if (largest === undefined) break;
      this.#onLimit("windowBytes", "ended");
      this.#actions.end(largest, null, tooMany("windowBytes", this.#limits.windowBytes));
    }
  }

  #refusal(): Error {
    this.#onLimit("windowBytes", "refused");
    return tooMany("windowBytes", this.#limits.windowBytes, RETRY_MS);
  }
}

/** After this time a client that the node's own budget refused may ask again, in milliseconds. */
const RETRY_MS = 5_000;
