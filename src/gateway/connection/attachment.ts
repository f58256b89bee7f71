import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import type { Chunk } from "../../feed/chunk.ts";
import type { Told } from "../../feed/cursor.ts";
import { type Deferred, deferred } from "../../feed/deferred.ts";
import type { Delivery } from "../../feed/delivery.ts";
import type { Started } from "../../feed/delivery-opening.ts";
import type { Rights } from "../../feed/rights.ts";
import type { Sink } from "../../feed/sink.ts";
import { type Fault, noteFault } from "../../metrics/guard.ts";
import type { ServerMessage, ValueMode } from "../../protocol/messages.ts";
import type { EffectiveQuery } from "../../rules/authorize.ts";
import type { GatewayContext } from "../context.ts";
import { termsFor } from "../rights/ticket-terms.ts";
import type { Login } from "./login.ts";
import type { Outbox } from "./outbox.ts";

/** The parts of a connection that an attachment needs. */
export interface AttachmentOwner {
  readonly context: GatewayContext;
  readonly identity: Identity | null;
  readonly login: Pick<Login, "account" | "values">;
  readonly outbox: Outbox;
  readonly subscriptions: {
    numberFor(key: string): number;
    snapshotTurn(): Promise<() => void>;
    readonly changes: { notify(): void };
  };
  readonly progress: { becameLive(afterCatchUp: boolean): void };
  send(message: ServerMessage): void;
  /** The live query cannot be kept up. Never throws. */
  attachmentFailed(attachment: Attachment, error: unknown): void;
  fail(fault: Fault): void;
}

/**
 * One live query on one connection, shared by all its subscriptions that come to it: it stays until the last
 * of them is gone. While the rights of one of them are undecided, nothing is written for any.
 */
export class Attachment implements Sink {
  readonly connection: AttachmentOwner;
  readonly query: EffectiveQuery;
  readonly wantsSnapshot: boolean;
  /** The number of the live query on the wire, which is this connection's own. */
  readonly number: number;
  readonly #ids = new Set<string>();
  /** Those of the ids whose rights are undecided. */
  readonly #undecided = new Set<string>();
  /** Settles when no rights are undecided, or nothing more is written at all. */
  #decided: Deferred | null = null;
  /** What the client holds is void, which it is told once the rights are decided. */
  #owedReset: "history-lost" | "lagged" | null = null;
  /** Where the delivery starts; `null` until that is decided. */
  #start: Pick<Started, "cursor" | "since" | "finally"> | null = null;
  /** The cursor of what was written last. */
  #sentCursor = "";
  #sent: Told | null = null;
  /** The ticket that the client resumed with, if it says all that a new one would. */
  #keptTicket: string | null = null;
  #opened: Promise<void> = Promise.resolve();
  readonly #delivery: Delivery;
  #detached = false;

  constructor(connection: AttachmentOwner, query: EffectiveQuery, wantsSnapshot: boolean, rights: Rights) {
    this.connection = connection;
    this.query = query;
    this.wantsSnapshot = wantsSnapshot;
    this.number = connection.subscriptions.numberFor(query.key);
    const { account } = connection.login;
    this.#delivery = connection.context.feed.subscribe(query, this, { wantsSnapshot, rights, account });
  }

  get delivery(): Delivery {
    return this.#delivery;
  }

  /** Settles when the start is decided; rejects if the subscription cannot be made. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** Lets all that share the attachment wait until its start is decided. */
  openBy(opening: Promise<void>): void {
    this.#opened = opening;
  }

  get isDetached(): boolean {
    return this.#detached;
  }

  /** Those whom it serves. */
  get ids(): ReadonlySet<string> {
    return this.#ids;
  }

  join(id: string): void {
    this.#ids.add(id);
  }

  leave(id: string): void {
    this.#ids.delete(id);
    this.decide(id);
  }

  /** Whether what is written for it is for this id, too. */
  serves(id: string): boolean {
    return !this.#detached && this.#ids.has(id);
  }

  isUndecided(id: string): boolean {
    return this.#undecided.has(id);
  }

  /** The rights of this id are undecided: nothing is written until they are decided, or the id has left. */
  suspend(id: string): void {
    if (!this.serves(id)) return;
    this.#undecided.add(id);
    this.#decided ??= deferred();
  }

  /** Settles when no rights are undecided, or nothing more is written at all. */
  async whenDecided(): Promise<void> {
    while (this.#decided !== null) await this.#decided.promise;
  }

  /** The rights of this id are decided, and it stays. */
  decide(id: string): void {
    if (!this.#undecided.delete(id) || this.#undecided.size > 0) return;
    const reset = this.#owedReset;
    this.#owedReset = null;
    if (reset !== null && this.#ids.size > 0) this.#sendReset(reset);
    this.#decided?.resolve();
    this.#decided = null;
    this.connection.subscriptions.changes.notify();
  }

  get mode(): ValueMode {
    return this.connection.login.values;
  }

  /** The cursor that the client receives for the start; empty until the start is decided. */
  get startCursor(): string {
    return this.#start?.cursor ?? "";
  }

  /**
   * Decides where the delivery starts.
   * @param keptTicket The ticket that the client resumed with, if it says all that a new one would.
   */
  startAt(start: Pick<Started, "cursor" | "since" | "finally">, keptTicket: string | null = null): void {
    this.#start = start;
    this.#keptTicket = keptTicket;
    this.#sentCursor = start.finally ?? start.cursor;
  }

  /** The position up to which the client knows this live query: that of the last write, or of the start. */
  get sent(): Told | null {
    if (this.#sent?.cursor === this.#sentCursor) return this.#sent;
    const { feed } = this.connection.context;
    const position = this.#sentCursor === "" ? "invalid" : feed.timeline.codec.decode(this.#sentCursor);
    this.#sent = typeof position === "string" ? null : { position, cursor: this.#sentCursor };
    return this.#sent;
  }

  /** From here on nothing more is written for this live query. */
  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    this.#undecided.clear();
    this.#decided?.resolve();
    this.#decided = null;
    this.connection.context.feed.unsubscribe(this.#delivery);
  }

  /** The feed serves all clients in one loop, which an error of this one must not end. */
  write(chunk: Chunk): boolean {
    // Refused, not lost: the delivery goes on from here once the rights are decided.
    if (this.#decided !== null) return false;
    try {
      const isWritten = this.connection.outbox.write(chunk.numbered(this.number));
      if (isWritten) this.#sentCursor = chunk.cursor ?? this.#sentCursor;
      return isWritten;
    } catch (error) {
      this.#fail("delivery.write", error);
      return true;
    }
  }

  async room(size: number): Promise<boolean> {
    await this.whenDecided();
    return this.connection.outbox.room(size);
  }

  mayRead(clusterTime: bigint): Promise<boolean> {
    const { context, identity } = this.connection;
    return context.trust.mayRead(identity, clusterTime);
  }

  snapshotTurn(): Promise<() => void> {
    return this.connection.subscriptions.snapshotTurn();
  }

  reset(reason: "history-lost" | "lagged"): void {
    // A ticket that was sealed now would be for rights that nobody has decided about.
    if (this.#decided !== null) this.#owedReset = reason;
    else this.#sendReset(reason);
  }

  failed(error: unknown): void {
    try {
      this.connection.attachmentFailed(this, error);
    } catch (second) {
      this.#fail("delivery.failed", second);
    }
  }

  becameLive(afterCatchUp: boolean): void {
    try {
      this.connection.progress.becameLive(afterCatchUp);
    } catch (error) {
      this.#fail("delivery.live", error);
    }
  }

  #fail(where: string, error: unknown): void {
    this.connection.fail(noteFault(this.connection.context, where, error));
  }

  /** A newer ticket for the same; `null` before the start is decided, and while rights are undecided. */
  renewTicket(): string | null {
    if (this.#start === null || this.#decided !== null || this.#detached) return null;
    this.#keptTicket = null;
    return this.ticket();
  }

  /** A ticket for what this connection sees of the live query from the start on. */
  ticket(): string {
    const { context, identity } = this.connection;
    if (this.#keptTicket !== null) return this.#keptTicket;
    const since = this.#start === null ? "" : context.feed.timeline.codec.encode(this.#start.since);
    const told = this.#start?.finally ?? this.startCursor;
    const { key, nowMs } = this.query;
    const terms = termsFor(identity, Date.now(), context.ticketTerms);
    return context.sealer.seal({ key, since, told, nowMs, holder: holderOf(identity), terms });
  }

  #sendReset(reason: "history-lost" | "lagged"): void {
    const { context } = this.connection;
    try {
      this.startAt({ cursor: context.feed.cursors.told.cursor, since: context.feed.timeline.head });
      context.metrics.resets.inc({ reason });
      this.connection.send({ type: "reset", query: this.number, ticket: this.ticket(), reason });
    } catch (error) {
      this.#fail("delivery.reset", error);
    }
  }
}
