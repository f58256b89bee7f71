/**
 * One registration on the node that serves it. It follows its live query by a connection without a client (see `Link`),
 * and turns the changes that it receives into pushes.
 */
import type { Identity } from "../auth/verify-token.ts";
import type { Chunk } from "../feed/chunk.ts";
import type { UserAccounts } from "../gateway/user-accounts.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ErrorMessage, ServerMessage } from "../protocol/messages.ts";
import type { PushState, SavedRegistration } from "../source/push-store.ts";
import { Link, type LinkParts, SUBSCRIPTION } from "./link.ts";
import type { Openings } from "./openings.ts";
import type { PushOptions } from "./options.ts";
import { kindOf } from "./parse-registration.ts";
import { latestChange, payloadOf } from "./payload.ts";
import { type OutboxOwner, type OutboxParts, PushOutbox } from "./push-outbox.ts";
import { identityOf } from "./saved-identity.ts";

/** The parts that all registrations of a process share. */
export interface PushParts extends LinkParts, OutboxParts {
  /** The accounts of the users who are connected. */
  readonly accounts: Pick<UserAccounts, "follows">;
  readonly options: PushOptions;
  readonly metrics: Metrics;
}

/** The partition of a registration. */
export interface Holder {
  /** Whether the registration still exists, and this node still serves it. @throws The error of MongoDB. */
  maySend(id: string): Promise<boolean>;
  /** Removes the registration for good. */
  remove(registration: HeldRegistration, reason: RemovalReason): void;
  /** Counts the registrations that are being opened. */
  readonly openings: Pick<Openings, "begun" | "ended">;
}

/** Why a registration was removed. */
export type RemovalReason = "deleted" | "expired" | "gone" | "revoked";

/** The state that is to be saved, and the note that it was. */
export interface Unsaved {
  readonly set: PushState;
  readonly saved: () => void;
}

/**
 * - `opening`: its rights are being decided
 * - `open`: it receives changes
 * - `waiting`: it could not be opened for a moment, and continues from where it was
 * - `suspended`: it has no rights. It begins at the head when it has them again
 * - `ended`
 */
type Phase = "opening" | "open" | "waiting" | "suspended" | "ended";

/** Pauses before another attempt to open a registration, in milliseconds. */
const REOPEN_MIN_MS = 1_000;
const REOPEN_MAX_MS = 60_000;

/** Serves one registration until it ends. */
export class HeldRegistration implements OutboxOwner {
  readonly #parts: PushParts;
  readonly #holder: Holder;
  readonly #outbox: PushOutbox;
  readonly #ticketsMs: number;
  #saved: SavedRegistration;
  #identity: Identity;
  #phase: Phase = "waiting";
  #link: Link | null = null;
  #lastError: ErrorMessage | null = null;
  #reopenAtMs = 0;
  #failures = 0;
  #ticketsDueMs = Number.POSITIVE_INFINITY;
  /** The live query under whose rights the waiting push was made. */
  #key: string | null = null;
  #start: SavedRegistration["start"];
  /** Everything up to this cursor was received. */
  #through: string | null;
  #unsaved: Pick<PushState, "start" | "suspended"> = {};

  constructor(saved: SavedRegistration, holder: Holder, parts: PushParts) {
    this.#saved = saved;
    this.#holder = holder;
    this.#parts = parts;
    this.#identity = identityOf(saved.identity);
    this.#start = saved.suspended === null ? saved.start : null;
    this.#through = saved.behind;
    this.#ticketsMs = parts.context.ticketTerms.maxAgeMs / 2;
    this.#outbox = new PushOutbox(this, parts);
  }

  get saved(): SavedRegistration {
    return this.#saved;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Whether a push waits or is being sent. */
  get hasPush(): boolean {
    return this.#outbox.hasPush;
  }

  get mayReceive(): boolean {
    return this.#phase === "open" && this.#link?.isDecided === true;
  }

  stillExists(): Promise<boolean> {
    return this.#holder.maySend(this.#saved.id);
  }

  isGone(): void {
    this.#holder.remove(this, "gone");
  }

  /** Begins to serve the registration. @param position Up to which the partition was served; `null` if unknown. */
  begin(position: string | null): void {
    this.#through ??= position;
    this.#open();
  }

  /** A client has renewed the registration: serves it under the newer token. A push that waits stays. */
  renew(saved: SavedRegistration): void {
    this.#link?.close();
    this.#saved = saved;
    this.#identity = identityOf(saved.identity);
    if (this.#start === null) {
      this.#start = saved.start;
      this.#through = saved.behind;
      this.#unsaved = {};
    }
    this.#outbox.forgetSaved();
    this.#open();
  }

  /** Ends without any further push. */
  end(): void {
    this.#enter("ended");
    this.#outbox.end();
    this.#link?.close();
    this.#link = null;
  }

  /** Acts on everything that is due. To be called about every second. */
  sweep(nowMs: number): void {
    if (nowMs >= this.#saved.expiresAtMs) {
      this.#holder.remove(this, "expired");
      return;
    }
    const isClosed = this.#phase === "waiting" || this.#phase === "suspended";
    if (isClosed && nowMs >= this.#reopenAtMs) this.#open();
    if (this.#phase === "open" && nowMs >= this.#ticketsDueMs) {
      this.#ticketsDueMs = nowMs + this.#ticketsMs;
      this.#link?.renewTicket();
    }
    this.#outbox.sendDue(nowMs);
  }

  /**
   * The state that must be saved before the position of the partition may pass `head`.
   * @param head The cursor of the settled head of the stream.
   * @param mayWait Whether the position may wait a moment for this registration.
   * @returns `wait` if it should; `null` if there is nothing to save.
   */
  collect(head: string, nowMs: number, mayWait: boolean): Unsaved | "wait" | null {
    const push = this.#outbox.collect(nowMs, mayWait);
    const behind = this.#behind(head);
    if (push === "wait" || (behind !== null && this.#phase === "opening" && mayWait)) return "wait";
    const unsaved = this.#unsaved;
    const set: PushState = {
      ...unsaved,
      ...(push === null ? {} : { pending: push.pending }),
      ...(behind === this.#saved.behind ? {} : { behind }),
    };
    if (Object.keys(set).length === 0) return null;
    const saved = () => {
      push?.saved();
      this.#saved = { ...this.#saved, ...set };
      if (this.#unsaved === unsaved) this.#unsaved = {};
    };
    return { set, saved };
  }

  #open(): void {
    const { collection, filter } = this.#saved.request;
    const asked = {
      identity: this.#identity,
      collection,
      filter,
      start: this.#start,
      through: this.#through,
    };
    this.#enter("opening");
    this.#lastError = null;
    this.#link = new Link(this.#parts, asked, {
      changed: (chunk) => this.#changed(chunk),
      told: (message) => this.#told(message),
      ended: () => this.#ended(),
    });
  }

  #changed(chunk: Chunk): void {
    this.#through = chunk.cursor ?? this.#through;
    const { request, id } = this.#saved;
    const latest = latestChange(chunk, request.on.map(kindOf));
    if (latest === null) return;
    const { metrics, options, accounts } = this.#parts;
    const liveQuery = this.#link?.liveQuery;
    if (options.skipConnected && liveQuery !== undefined && accounts.follows(this.#identity, liveQuery)) {
      metrics.pushes.inc({ outcome: "skipped" }, latest.count);
      return;
    }
    const { collection, data } = request;
    const template = options.templates[collection];
    const payload = payloadOf(latest, { id, collection, data, template });
    this.#outbox.offer({ kind: latest.kind, atMs: Date.now(), payload, body: null }, latest.count);
  }

  #told(message: ServerMessage): void {
    if (message.type === "subscribed")
      this.#subscribed(message.cursor, message.ticket, message.start === "resumed");
    else if (message.type === "tickets") this.#keepTicket(message.tickets[SUBSCRIPTION]);
    else if (message.type === "reset") {
      this.#parts.metrics.pushResets.inc();
      this.#keepTicket(message.ticket);
    } else if (message.type === "unsubscribed") this.#suspend(message.reason);
    else if (message.type === "error") this.#failed(message);
  }

  #subscribed(cursor: string, ticket: string, isResumed: boolean): void {
    const key = this.#link?.key ?? null;
    const isFirst = this.#phase === "opening";
    if (isFirst && this.#link?.isResuming === true && !isResumed) this.#parts.metrics.pushResets.inc();
    // The waiting push was made under rights that the user may have lost since. An equal live query shows that not.
    const continues = isFirst && isResumed && this.#key === null && this.#link?.usesNow === false;
    const hasSameRights = continues || (key !== null && key === this.#key);
    if (!hasSameRights) this.#outbox.withdraw();
    this.#key = key;
    this.#enter("open");
    this.#failures = 0;
    this.#through = cursor;
    this.#ticketsDueMs = Date.now() + this.#ticketsMs;
    // A resumption that keeps its ticket also keeps the cursor that belongs to it.
    if (this.#start?.ticket !== ticket) this.#keep({ start: { cursor, ticket } });
    if (this.#saved.suspended !== null) this.#keep({ suspended: null });
    this.#outbox.sendDue(Date.now());
  }

  #keepTicket(ticket: string | undefined): void {
    const cursor = this.#link?.startCursor;
    if (ticket !== undefined && cursor !== undefined) this.#keep({ start: { cursor, ticket } });
  }

  #keep(state: Pick<PushState, "start" | "suspended">): void {
    if (state.start !== undefined) this.#start = state.start;
    this.#unsaved = { ...this.#unsaved, ...state };
  }

  #failed(error: ErrorMessage): void {
    this.#lastError = error;
    if (error.id !== SUBSCRIPTION) return; // the end of the connection follows
    if (error.retry === "later" || error.retry === "now") this.#wait();
    else this.#suspend(error.code);
  }

  /** The connection has ended, because its identity is not accepted, or after a fault. */
  #ended(): void {
    const isRefused = this.#lastError?.code === "unauthenticated";
    const reason = isRefused ? this.#lastError?.details?.["reason"] : undefined;
    if (reason === "revoked") this.#holder.remove(this, "revoked");
    else if (isRefused) this.#suspend(String(reason ?? "unauthenticated"));
    else this.#wait();
  }

  #suspend(reason: string): void {
    this.#outbox.withdraw();
    this.#close("suspended");
    this.#through = null;
    this.#key = null;
    this.#reopenAtMs = Date.now() + REOPEN_MAX_MS * (0.5 + Math.random() / 2);
    this.#keep({ start: null, ...(this.#saved.suspended === reason ? {} : { suspended: reason }) });
  }

  #wait(): void {
    this.#close("waiting");
    const pauseMs = Math.min(REOPEN_MAX_MS, REOPEN_MIN_MS * 2 ** Math.min(this.#failures++, 10));
    this.#reopenAtMs = Date.now() + pauseMs * (0.5 + Math.random() / 2);
  }

  /** Follows no changes from now on. */
  #close(phase: "waiting" | "suspended"): void {
    this.#link?.close();
    this.#link = null;
    this.#enter(phase);
  }

  #enter(phase: Phase): void {
    const wasOpening = this.#phase === "opening";
    this.#phase = phase;
    if (wasOpening === (phase === "opening")) return;
    if (wasOpening) this.#holder.openings.ended();
    else this.#holder.openings.begun();
  }

  /** The cursor from which this registration must continue, if it is not at the head; `null` if it is. */
  #behind(head: string): string | null {
    if (this.#phase === "suspended") return null;
    if (this.#phase !== "open" || this.#link?.isLive !== true)
      return this.#through ?? this.#start?.cursor ?? null;
    this.#through = head;
    return null;
  }
}
