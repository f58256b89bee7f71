import { SEALED, type Sealer } from "./sealer.ts";

/** What a subscription was allowed to see, and since when; sealed, so that only the service can say so. */
export interface Ticket {
  /** Key of the live query. */
  readonly key: string;
  /** Cursor at which the subscription began. */
  readonly since: string;
  /** Whom it was given to: a digest, so that every ticket has the same size (see `holderOf`). */
  readonly holder: string;
}

/** Seals and opens tickets. */
export class TicketSealer {
  readonly #sealer: Sealer;

  constructor(sealer: Sealer) {
    this.#sealer = sealer;
  }

  seal({ key, since, holder }: Ticket): string {
    return this.#sealer.seal(SEALED.ticket, JSON.stringify([key, since, holder]));
  }

  /** A ticket that was opened is as good as a new one of the same content, unless its key is about to go. */
  mayBeKept(ticket: string): boolean {
    return this.#sealer.isSealedByNewest(ticket);
  }

  /** What is in a ticket; `null` if it is not a genuine one. */
  async open(ticket: string): Promise<Ticket | null> {
    const text = await this.#sealer.open(SEALED.ticket, ticket);
    if (text === null) return null;
    // Sealed by us, so it has the shape that `seal` gave it.
    const [key, since, holder] = JSON.parse(text) as [string, string, string];
    return { key, since, holder };
  }

  /** Shows, beside a ticket, by which way the service gave it out. */
  mark(ticket: string): string {
    return this.#sealer.mark(ticket);
  }

  isMarked(ticket: string, mark: string): Promise<boolean> {
    return this.#sealer.isMarked(ticket, mark);
  }
}
