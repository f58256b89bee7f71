/**
 * Tickets: the proof that a client had the right to a live query at a position. A cursor alone says where a client
 * stopped, not that it was allowed to read until there, so a resumption needs both.
 */
import { SEALED, type Sealer } from "./sealer.ts";

/** The token under which a ticket was sealed. */
export interface TicketTerms {
  /** When the ticket was sealed, in epoch milliseconds by the clock of that node. */
  readonly sealedAtMs: number;
  /** A digest of the claims; empty for anonymous clients. */
  readonly token: string;
  /** When the token expires, tolerance included, in epoch milliseconds; `null` if never. */
  readonly untilMs: number | null;
}

/** The rights of a subscription and their beginning, sealed so that only the service can issue them. */
export interface Ticket {
  /** Key of the live query. */
  readonly key: string;
  /** Cursor of the exact position at which the subscription began. Clients never see it. */
  readonly since: string;
  /** The cursor that the client received for it, of the same position or an earlier one. */
  readonly lastSent: string;
  /** The rounded time of `%%now` in the live query, in epoch milliseconds; `null` if the live query does not use it. */
  readonly nowMs: number | null;
  /** The user to whom it was issued, as a digest, so that every ticket has the same size (see `holderOf`). */
  readonly holder: string;
  /** The mark of the last loss of these rights that the node knew; empty if none. */
  readonly lossMark: string;
  /** A digest of the collection in MongoDB, whatever clients call it; empty in tickets of earlier versions. */
  readonly collection: string;
  readonly terms: TicketTerms;
}

type Sealed = [
  key: string,
  since: string,
  holder: string,
  lastSent: string,
  nowMs: number | null,
  sealedAtMs: number,
  token: string,
  untilMs: number | null,
  lossMark: string,
  collection: string,
];

/** How many tickets of anonymous clients are remembered. */
const ANONYMOUS_MAX = 256;

/** Seals and opens tickets. */
export class TicketSealer {
  readonly #sealer: Sealer;
  /** Tickets of anonymous clients, by their content: many ask for the same in the same second. */
  readonly #anonymous = new Map<string, string>();

  constructor(sealer: Sealer) {
    this.#sealer = sealer;
  }

  seal({ key, since, lastSent, nowMs, holder, lossMark, collection, terms }: Ticket): string {
    const { sealedAtMs, token, untilMs } = terms;
    const rights = [key, since, holder, lastSent, nowMs] as const;
    const parts: Sealed = [...rights, sealedAtMs, token, untilMs, lossMark, collection];
    const text = JSON.stringify(parts);
    return token === "" ? this.#sealAnonymous(text) : this.#sealer.seal(SEALED.ticket, text);
  }

  #sealAnonymous(text: string): string {
    const known = this.#anonymous.get(text);
    if (known !== undefined && this.mayBeKept(known)) return known;
    const ticket = this.#sealer.seal(SEALED.ticket, text);
    if (this.#anonymous.size >= ANONYMOUS_MAX) this.#anonymous.clear();
    this.#anonymous.set(text, ticket);
    return ticket;
  }

  /**
   * Whether a ticket can be kept instead of a new one with the same content, which is the case unless its key will be
   * removed soon.
   */
  mayBeKept(ticket: string): boolean {
    return this.#sealer.isSealedByNewest(ticket);
  }

  /**
   * Opens a ticket.
   * @returns Its content; `null` if it is not genuine.
   */
  async open(ticket: string): Promise<Ticket | null> {
    const text = await this.#sealer.open(SEALED.ticket, ticket);
    if (text === null) return null;
    // Only this service can seal, so the content has the form that `seal` wrote.
    const parts = JSON.parse(text) as Sealed;
    const [key, since, holder, lastSent, nowMs, sealedAtMs, token, untilMs, ...rest] = parts;
    const [lossMark = "", collection = ""] = rest;
    const terms = { sealedAtMs, token, untilMs };
    return { key, since, lastSent, nowMs, holder, lossMark, collection, terms };
  }

  /** A proof, sent beside a ticket, of the way in which the service issued the ticket. */
  mark(ticket: string): string {
    return this.#sealer.mark(ticket);
  }

  isMarked(ticket: string, mark: string): Promise<boolean> {
    return this.#sealer.isMarked(ticket, mark);
  }
}
