/**
 * The way of one registration's pushes to its push service. Just before each request it is judged again whether the push
 * may be sent, because it may have waited for long.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { SparseLog } from "../metrics/sparse-log.ts";
import type { PushState, SavedRegistration } from "../source/push-store.ts";
import { encryptPayload } from "./encrypt-payload.ts";
import { Outgoing, type Push, type RetryOptions } from "./outgoing.ts";
import { kindOf } from "./parse-registration.ts";
import { type PushAnswer, type PushRequestParts, sendPush } from "./push-request.ts";
import type { Sender, Sending } from "./sender.ts";

/** The registration that an outbox belongs to. */
export interface OutboxOwner {
  readonly saved: SavedRegistration;
  /** Whether it has rights at this moment. */
  readonly mayReceive: boolean;
  /** Whether it still exists, and this node still serves it. @throws The error of MongoDB. */
  stillExists(): Promise<boolean>;
  /** The browser has no such subscription any more. */
  isGone(): void;
}

/** The parts that all outboxes share. */
export interface OutboxParts {
  readonly options: RetryOptions;
  readonly request: PushRequestParts;
  readonly sender: Sender;
  readonly metrics: Pick<Metrics, "pushes">;
  readonly log: Logger;
  /** Refusals of all registrations: a client chooses who refuses, and how often. */
  readonly refusals: SparseLog;
}

/** The waiting push in the form in which it is saved, and the note that it was. */
export interface UnsavedPush {
  readonly pending: NonNullable<PushState["pending"]> | null;
  readonly saved: () => void;
}

/** Pause of a push while rights are being decided, or while MongoDB does not answer, in milliseconds. */
const UNDECIDED_MS = 500;

/** Holds at most one push that waits, and one that is being sent. */
export class PushOutbox implements Sending {
  readonly #owner: OutboxOwner;
  readonly #parts: OutboxParts;
  readonly #outgoing: Outgoing;
  #request: AbortController | null = null;
  #hasEnded = false;
  /** The push that the database has, and its number of attempts there; `undefined` if that is unknown. */
  #savedPush: Push | null | undefined;
  #savedAttempts: number;

  constructor(owner: OutboxOwner, parts: OutboxParts) {
    const { pending } = owner.saved;
    const push = pending === null ? null : { ...pending, kind: kindOf(pending.kind), payload: null };
    this.#owner = owner;
    this.#parts = parts;
    this.#outgoing = new Outgoing(
      parts.options,
      pending === null || push === null ? null : { ...pending, push },
    );
    this.#savedPush = push;
    this.#savedAttempts = pending?.attempts ?? 0;
  }

  get host(): string {
    // A name with and without the last dot is the same host, and so is one with another port.
    return new URL(this.#owner.saved.request.endpoint).hostname.replace(/\.$/, "");
  }

  get user(): string {
    return this.#owner.saved.identity.subject;
  }

  /** Whether a push waits or is being sent. */
  get hasPush(): boolean {
    return this.#outgoing.unaccepted !== null;
  }

  /**
   * Takes the push of the latest change.
   * @param count The number of changes since the last call, that one included. The others are collapsed into the push.
   */
  offer(push: Push, count: number): void {
    const collapsed = count - 1 + (this.#outgoing.offer(push) ? 1 : 0);
    if (collapsed > 0) this.#parts.metrics.pushes.inc({ outcome: "collapsed" }, collapsed);
    this.sendDue(Date.now());
  }

  /** Hands the waiting push to the sender if it is due. */
  sendDue(nowMs: number): void {
    if (this.#outgoing.dueMs <= nowMs) this.#parts.sender.offer(this);
  }

  /** The user has lost the right to the waiting push: drops it, and aborts its request. */
  withdraw(): void {
    if (this.#outgoing.withdraw()) this.#parts.metrics.pushes.inc({ outcome: "withdrawn" });
    this.#request?.abort();
  }

  /** Sends nothing more, and forgets nothing that was saved. */
  end(): void {
    this.#hasEnded = true;
    this.#parts.sender.forget(this);
    this.#request?.abort();
  }

  /** The database may have another push than this outbox. */
  forgetSaved(): void {
    this.#savedPush = undefined;
  }

  /**
   * The push that is to be saved.
   * @param mayWait Whether one that was not tried yet may be left out.
   * @returns `wait` if it is; `null` if there is nothing to save.
   */
  collect(nowMs: number, mayWait: boolean): UnsavedPush | "wait" | null {
    const push = this.#outgoing.unaccepted;
    const { attempts, dueMs } = this.#outgoing;
    if (push === this.#savedPush && (push === null || attempts === this.#savedAttempts)) return null;
    const saved = () => {
      this.#savedPush = push;
      this.#savedAttempts = attempts;
    };
    if (push === null) return { pending: null, saved };
    if (mayWait && attempts === 0) return "wait";
    const { kind, atMs } = push;
    const rest = { kind, atMs, attempts, dueMs: Number.isFinite(dueMs) ? dueMs : nowMs };
    return { pending: { ...rest, body: this.#encrypted(push) }, saved };
  }

  async sendNext(): Promise<boolean> {
    const push = this.#hasEnded ? null : this.#outgoing.take(Date.now());
    if (push === null || !(await this.#mayStillSend(push))) return false;
    const request = new AbortController();
    this.#request = request;
    try {
      const { id, request: asked } = this.#owner.saved;
      const body = this.#encrypted(push);
      const answer = await sendPush(this.#parts.request, asked.endpoint, id, body, request.signal);
      if (!this.#hasEnded) this.#answered(push, answer);
    } finally {
      if (this.#request === request) this.#request = null;
    }
    return !this.#hasEnded && this.#outgoing.dueMs <= Date.now();
  }

  sendingFailed(): void {
    this.#outgoing.withdraw();
  }

  async #mayStillSend(push: Push): Promise<boolean> {
    let exists: boolean;
    try {
      exists = await this.#owner.stillExists();
    } catch (err) {
      this.#parts.log.debug({ err }, "a registration could not be read before its push; trying again");
      this.#outgoing.postponed(push, Date.now(), UNDECIDED_MS);
      return false;
    }
    if (this.#hasEnded || !this.#outgoing.isWanted(push)) return false;
    if (exists && this.#owner.mayReceive) return true;
    // Otherwise its user has removed it, or another node serves it by now.
    if (exists) this.#outgoing.postponed(push, Date.now(), UNDECIDED_MS);
    else this.#outgoing.settled(push);
    return false;
  }

  #answered(push: Push, answer: PushAnswer): void {
    const { metrics, log, refusals } = this.#parts;
    const { host } = new URL(this.#owner.saved.request.endpoint);
    if (answer.outcome === "retry") {
      const outcome = this.#outgoing.failed(push, Date.now(), answer.afterMs, Math.random());
      metrics.pushes.inc({ outcome: outcome === "replaced" ? "collapsed" : outcome });
      log.debug({ host, cause: answer.cause, outcome }, "a push service did not take a push");
      return;
    }
    metrics.pushes.inc({ outcome: answer.outcome });
    if (answer.outcome !== "refused") {
      this.#outgoing.settled(push);
      if (answer.outcome === "gone") this.#owner.isGone();
      return;
    }
    this.#outgoing.refused(push, Date.now(), Math.random());
    const { status } = answer;
    const why =
      status === 0
        ? "its address is private (push.allowPrivate)"
        : "401 and 403 mean other VAPID keys (push.vapid)";
    const fields = { host, status, registration: this.#owner.saved.id };
    refusals.write(Date.now(), (more) => log.warn({ ...fields, ...more }, `a push was refused: ${why}`));
  }

  #encrypted(push: Push): Uint8Array {
    const { p256dh, auth } = this.#owner.saved.request;
    push.body ??= encryptPayload(Buffer.from(push.payload ?? ""), {
      p256dh: Buffer.from(p256dh, "base64url"),
      auth: Buffer.from(auth, "base64url"),
    });
    return push.body;
  }
}
