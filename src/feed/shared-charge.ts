/**
 * Charges documents that several clients share to one of them. The budget of that user is no reason to refuse the others,
 * and a client that has received the documents does not pay for those that still wait for them, as long as one of these has room.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { Account } from "./account.ts";
import type { ReadingCharge } from "./reading-charge.ts";

/** A client that waits for the documents, or is sent them. */
export interface Sharer {
  readonly account: Account;
  /** Whether its user had no room for the documents when it was this client's turn to pay. */
  isRefused: boolean;
}

/** One charge, and the clients that share it. */
export class SharedCharge {
  readonly #charge: ReadingCharge;
  /** In the order in which they joined. */
  readonly #sharers = new Set<Sharer>();
  #payer: Sharer;

  /** @param charge The charge to the user of the first client. */
  constructor(charge: ReadingCharge, first: Sharer) {
    this.#charge = charge;
    this.#sharers.add(first);
    this.#payer = first;
  }

  /** The users of the clients that share it now. A user with several clients is in it as often. */
  get accounts(): readonly Account[] {
    return Array.from(this.#sharers, ({ account }) => account);
  }

  join(sharer: Sharer): void {
    this.#sharers.add(sharer);
  }

  /**
   * Charges more bytes. A client whose user has no room for all of them is refused, and the next one pays.
   * @throws {TidewireError} `too-many-subscriptions` if no client is left, or the node has no room.
   */
  add(bytes: number): void {
    for (;;) {
      try {
        this.#charge.add(bytes);
        return;
      } catch (error) {
        if (!isOfUser(error)) throw error;
        this.#refuse(this.#payer);
        if (!this.#passOn((sharer) => this.#refuse(sharer))) throw error;
      }
    }
  }

  /** A client needs the documents no longer. With the last one, the charge ends. */
  leave(sharer: Sharer): void {
    this.#sharers.delete(sharer);
    if (this.#sharers.size === 0) this.#charge.release();
    // If no other user has room, the charge stays where it is. It ends with the last client in any case.
    else if (!this.#sharers.has(this.#payer)) this.#passOn(() => {});
  }

  #refuse(sharer: Sharer): void {
    sharer.isRefused = true;
    this.#sharers.delete(sharer);
    if (this.#sharers.size === 0) this.#charge.release();
  }

  /** Charges the first client whose user has room. @returns Whether there is one. */
  #passOn(hasNoRoom: (sharer: Sharer) => void): boolean {
    for (const sharer of this.#sharers) {
      if (this.#charge.moveTo(sharer.account)) {
        this.#payer = sharer;
        return true;
      }
      hasNoRoom(sharer);
    }
    return false;
  }
}

/** Whether the budget of a user, and not that of the node, refuses the bytes. */
export const isOfUser = (error: unknown): boolean =>
  error instanceof TidewireError &&
  error.code === "too-many-subscriptions" &&
  error.details["limit"] === "userWindowBytes";
