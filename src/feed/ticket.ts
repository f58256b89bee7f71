import { SEALED, type Sealer } from "./sealer.ts";

/** What a subscription was allowed to see, and since when; sealed, so that only the service can say so. */
export interface Ticket {
  /** Key of the live query. */
  readonly key: string;
  /** Cursor of the exact position at which the subscription began; clients never see it. */
  readonly since: string;
  /** The cursor that the client received for it: of the same position or an earlier one. */
  readonly told: string;
  /** The rounded time that stands for `%%now` in the live query, in epoch milliseconds; `null` where nothing does. */
  readonly nowMs: number | null;
  /** Whom it was given to: a digest, so that every ticket has the same size (see `holderOf`). */
  readonly holder: string;
}

/** Seals and opens tickets. */
export class TicketSealer {
  readonly #sealer: Sealer;

  constructor(sealer: Sealer) {
    this.#sealer = sealer;
  }

  seal({ key, since, told, nowMs, holder }: Ticket): string {
    return this.#sealer.seal(SEALED.ticket, JSON.stringify([key, since, holder, told, nowMs]));
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
    const [key, since, holder, told, nowMs] = JSON.parse(text) as [
      string,
      string,
      string,
      string,
      number | null,
    ];
    return { key, since, told, nowMs, holder };
  }

  /** Shows, beside a ticket, by which way the service gave it out. */
  mark(ticket: string): string {
    return this.#sealer.mark(ticket);
  }

  isMarked(ticket: string, mark: string): Promise<boolean> {
    return this.#sealer.isMarked(ticket, mark);
  }
}
