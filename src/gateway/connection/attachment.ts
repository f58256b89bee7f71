/**
 * One live query on one connection. Several subscriptions of a client may ask for the same live query; they share one
 * attachment, so each change is sent once. The attachment also enforces silence while the rights of any of them are
 * undecided.
 */
import assert from "node:assert/strict";
import { type Deferred, deferred } from "../../feed/deferred.ts";
import type { Delivery } from "../../feed/delivery.ts";
import type { Rights } from "../../feed/rights.ts";
import { SmallSet } from "../../feed/small-set.ts";
import { noteFault } from "../../metrics/guard.ts";
import type { EffectiveQuery } from "../../rules/authorize.ts";
import type { AttachmentOwner, Ids } from "./attachment-owner.ts";
import { AttachmentSink } from "./attachment-sink.ts";
import { AttachmentStart } from "./attachment-start.ts";

type ResetReason = "history-lost" | "lagged";

/** The settled promise of every attachment that has started. */
const OPEN: Promise<void> = Promise.resolve();

/**
 * One live query on one connection, shared by all its subscriptions that ask for it, until the last of them ends. While
 * the rights of one of them are undecided, nothing is written for any.
 */
export class Attachment {
  readonly connection: AttachmentOwner;
  readonly query: EffectiveQuery;
  readonly wantsSnapshot: boolean;
  /** The number of the live query in messages. Each connection numbers its own live queries. */
  readonly number: number;
  readonly start: AttachmentStart;
  readonly #ids = new SmallSet<string>();
  /** The ids whose rights are undecided; `null` while there are none. */
  #undecided: Set<string> | null = null;
  /** Settles when no rights are undecided, or nothing more will be written. */
  #decided: Deferred | null = null;
  /** The documents that the client has are void. `reset` is sent once the rights are decided. */
  #owedReset: ResetReason | null = null;
  #opened: Promise<void> = OPEN;
  #delivery: Delivery | undefined;
  #detached = false;

  /** For `attach` only, which gives the attachment its delivery. */
  private constructor(connection: AttachmentOwner, query: EffectiveQuery, wantsSnapshot: boolean) {
    this.connection = connection;
    this.query = query;
    this.wantsSnapshot = wantsSnapshot;
    this.number = connection.subscriptions.numberFor(query.key);
    this.start = new AttachmentStart(connection, query);
  }

  /** Makes an attachment and the delivery that writes to it. */
  static attach(
    connection: AttachmentOwner,
    query: EffectiveQuery,
    wantsSnapshot: boolean,
    rights: Rights,
  ): Attachment {
    const attachment = new Attachment(connection, query, wantsSnapshot);
    const sink = new AttachmentSink(attachment);
    rights.followSets(sink);
    const { account } = connection.login;
    attachment.#delivery = connection.context.feed.subscribe(query, sink, { wantsSnapshot, rights, account });
    return attachment;
  }

  get delivery(): Delivery {
    assert(this.#delivery !== undefined, "an attachment is made with its delivery");
    return this.#delivery;
  }

  /** Settles when the start is decided. Rejects if the subscription cannot be made. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** Makes all subscriptions that share the attachment wait until its start is decided. */
  openBy(opening: Promise<void>): void {
    this.#opened = opening;
  }

  /** The start was decided. From now on no promise of its own is kept. */
  noteOpened(): void {
    this.#opened = OPEN;
  }

  get isDetached(): boolean {
    return this.#detached;
  }

  /** The ids of the subscriptions that it serves. */
  get ids(): Ids {
    return this.#ids;
  }

  join(id: string): void {
    this.#ids.add(id);
  }

  leave(id: string): void {
    this.#ids.delete(id);
    // An id that leaves while it is undecided must not keep the others silent.
    this.decide(id);
  }

  /** Whether its messages are also for this id. */
  serves(id: string): boolean {
    return !this.#detached && this.#ids.has(id);
  }

  isUndecided(id: string): boolean {
    return this.#undecided?.has(id) === true;
  }

  /** The rights of this id are undecided. Nothing is written until they are decided, or the id has left. */
  suspend(id: string): void {
    if (!this.serves(id)) return;
    this.#undecided ??= new Set();
    this.#undecided.add(id);
    this.#decided ??= deferred();
  }

  /** Settles when no rights are undecided, or nothing more will be written; `null` while none are undecided. */
  get deciding(): Promise<void> | null {
    return this.#decided?.promise ?? null;
  }

  /** The rights of this id are decided, and the id stays. */
  decide(id: string): void {
    if (this.#undecided?.delete(id) !== true || this.#undecided.size > 0) return;
    this.#undecided = null;
    const reset = this.#owedReset;
    this.#owedReset = null;
    // Before the delivery continues, because every later message builds on the reset.
    if (reset !== null && this.#ids.size > 0) this.#sendReset(reset);
    this.#decided?.resolve();
    this.#decided = null;
    this.connection.subscriptions.changes.notify();
  }

  /** Ends the delivery. Nothing more is written for this live query. */
  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    this.#undecided = null;
    // Callers that wait for the decision find the attachment detached. Otherwise they would wait for ever.
    this.#decided?.resolve();
    this.#decided = null;
    this.connection.context.feed.unsubscribe(this.delivery);
  }

  /** The documents that the client has are void. */
  reset(reason: ResetReason): void {
    // A ticket that was sealed now would be for rights that nobody has decided about.
    if (this.#decided !== null) this.#owedReset = reason;
    else this.#sendReset(reason);
  }

  #sendReset(reason: ResetReason): void {
    const { context } = this.connection;
    try {
      this.start.decide({ cursor: context.feed.cursors.published.cursor, since: context.feed.timeline.head });
      context.metrics.resets.inc({ reason });
      this.connection.send({ type: "reset", query: this.number, ticket: this.start.ticket(), reason });
    } catch (error) {
      this.connection.fail(noteFault(context, "delivery.reset", error));
    }
  }
}
