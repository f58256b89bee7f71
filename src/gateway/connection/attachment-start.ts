/**
 * Remembers what a client knows about one live query: its start, its last cursor, and the ticket for both. Watermarks
 * and fences are computed from it.
 */
import { holderOf } from "../../auth/subject.ts";
import type { PublishedPosition } from "../../feed/cursor.ts";
import type { Started } from "../../feed/delivery-opening.ts";
import type { EffectiveQuery } from "../../rules/authorize.ts";
import { collectionDigest } from "../rights/collection-digest.ts";
import { termsFor } from "../rights/ticket-terms.ts";
import type { AttachmentOwner } from "./attachment-owner.ts";

type Start = Pick<Started, "cursor" | "since" | "finally">;

/** Where the delivery of a live query to one client starts, how far it has come, and its ticket. */
export class AttachmentStart {
  readonly #owner: Pick<AttachmentOwner, "context" | "identity">;
  readonly #query: EffectiveQuery;
  /** `null` until the start is decided. */
  #start: Start | null = null;
  /** The cursor of the last write. */
  #sentCursor = "";
  #sent: PublishedPosition | null = null;
  /** The ticket with which the client resumed, if a new one would have the same content. */
  #keptTicket: string | null = null;

  constructor(owner: Pick<AttachmentOwner, "context" | "identity">, query: EffectiveQuery) {
    this.#owner = owner;
    this.#query = query;
  }

  /** The cursor that the client receives for the start; empty until the start is decided. */
  get cursor(): string {
    return this.#start?.cursor ?? "";
  }

  /** The position up to which the client knows this live query: the position of the last write, or of the start. */
  get sent(): PublishedPosition | null {
    if (this.#sent?.cursor === this.#sentCursor) return this.#sent;
    const { feed } = this.#owner.context;
    this.#sent = this.#sentCursor === "" ? null : feed.timeline.codec.published(this.#sentCursor);
    return this.#sent;
  }

  /**
   * Decides where the delivery starts.
   * @param keptTicket The ticket with which the client resumed, if a new one would have the same content.
   */
  decide(start: Start, keptTicket: string | null = null): void {
    this.#start = start;
    this.#keptTicket = keptTicket;
    this.#sentCursor = start.finally ?? start.cursor;
  }

  /** Notes that the client was sent everything up to a cursor; `undefined` for a message without one. */
  noteSent(cursor: string | undefined): void {
    this.#sentCursor = cursor ?? this.#sentCursor;
  }

  /** A ticket for the data of the live query on this connection, from the start on. */
  ticket(): string {
    const { context, identity } = this.#owner;
    if (this.#keptTicket !== null) return this.#keptTicket;
    const since = this.#start === null ? "" : context.feed.timeline.codec.encode(this.#start.since);
    const lastSent = this.#start?.finally ?? this.cursor;
    const { key, nowMs } = this.#query;
    const collection = collectionDigest(this.#query);
    const holder = holderOf(identity);
    const lossMark = context.lostRights.known(holder, collection)?.mark ?? "";
    const terms = termsFor(identity, Date.now(), context.ticketTerms);
    return context.sealer.seal({ key, since, lastSent, nowMs, holder, lossMark, collection, terms });
  }

  /** Makes a newer ticket with the same content; `null` before the start is decided. */
  renewTicket(): string | null {
    if (this.#start === null) return null;
    this.#keptTicket = null;
    return this.ticket();
  }
}
