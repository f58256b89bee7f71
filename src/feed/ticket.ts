import { SEALED, type Sealer } from "./sealer.ts";

/** What a subscription was allowed to see, and since when; sealed, so that only the service can say so. */
export interface Ticket {
  /** Key of the live query. */
  readonly key: string;
  /** Cursor at which the subscription began. */
  readonly since: string;
  /** Who it was given to; `null` for an anonymous user. */
  readonly sub: string | null;
}

/** Seals and opens tickets. */
export class TicketSealer {
  readonly #sealer: Sealer;

  constructor(sealer: Sealer) {
    this.#sealer = sealer;
  }

  seal({ key, since, sub }: Ticket): string {
    return this.#sealer.seal(SEALED.ticket, JSON.stringify([key, since, sub]));
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
    const [key, since, sub] = JSON.parse(text) as [string, string, string | null];
    return { key, since, sub };
  }

  /** Shows, beside a ticket, by which way the service gave it out. */
  mark(ticket: string): string {
    return this.#sealer.mark(ticket);
  }

  isMarked(ticket: string, mark: string): Promise<boolean> {
    return this.#sealer.isMarked(ticket, mark);
  }
}
