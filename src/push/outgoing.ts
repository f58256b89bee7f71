/**
 * The one push of a registration that waits to be sent. A later change replaces an earlier one, so that the memory of a
 * registration is bounded however slow its push service is.
 */
import type { PushKind } from "./parse-registration.ts";

/** A notification on its way. */
export interface Push {
  readonly kind: PushKind;
  /** When the change arrived, in epoch milliseconds. */
  readonly atMs: number;
  /** Plain text; `null` if only the encrypted form was saved by an earlier holder. */
  readonly payload: string | null;
  /** Encrypted for the browser. Made before the first attempt. */
  body: Uint8Array | null;
}

/** How often and how late a push is tried again. */
export interface RetryOptions {
  readonly attempts: number;
  readonly retryFirstMs: number;
  readonly retryMaxMs: number;
  readonly ttlMs: number;
}

/** The latest change of a registration, until a push service has accepted it. */
export class Outgoing {
  readonly #options: RetryOptions;
  #waiting: Push | null = null;
  #inFlight: Push | null = null;
  #attempts: number;
  #dueMs: number;
  /** Refusals since the last push that was accepted, and until when they keep others back, in epoch milliseconds. */
  #refusals = 0;
  #refusedUntilMs = 0;

  /** @param saved The push that an earlier holder has saved. */
  constructor(
    options: RetryOptions,
    saved: { readonly push: Push; readonly attempts: number; readonly dueMs: number } | null = null,
  ) {
    this.#options = options;
    this.#waiting = saved?.push ?? null;
    this.#attempts = saved?.attempts ?? 0;
    this.#dueMs = saved?.dueMs ?? 0;
  }

  /** The latest push that no push service has accepted; `null` if there is none. */
  get unaccepted(): Push | null {
    return this.#waiting ?? this.#inFlight;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** From when on the waiting push may be sent, in epoch milliseconds; `Infinity` if none waits. */
  get dueMs(): number {
    return this.#waiting === null || this.#inFlight !== null
      ? Number.POSITIVE_INFINITY
      : Math.max(this.#dueMs, this.#refusedUntilMs);
  }

  /** Takes a newer push. @returns Whether it replaces one that was not sent. */
  offer(push: Push): boolean {
    const replaces = this.#waiting !== null;
    this.#waiting = push;
    return replaces;
  }

  /** Takes the push to be sent now; `null` if none is due. One is sent at a time. */
  take(nowMs: number): Push | null {
    if (this.dueMs > nowMs) return null;
    this.#inFlight = this.#waiting;
    this.#waiting = null;
    return this.#inFlight;
  }

  /** Whether a push that was taken is still to be sent. */
  isWanted(push: Push): boolean {
    return this.#inFlight === push;
  }

  /** The push service has taken the push, or there is nobody to take it. */
  settled(push: Push): void {
    if (this.#inFlight !== push) return;
    this.#refusals = 0;
    this.#drop();
  }

  /**
   * The push service will never take the push. Later ones are due after a pause that doubles with each refusal, also if
   * rights change meanwhile: the host may be one that has nothing to do with push services.
   * @param random From 0 to 1.
   */
  refused(push: Push, nowMs: number, random: number): void {
    if (this.#inFlight !== push) return;
    this.#refusedUntilMs = nowMs + this.#pauseMs(++this.#refusals) * (0.5 + random / 2);
    this.#drop();
  }

  #drop(): void {
    this.#inFlight = null;
    this.#attempts = 0;
    this.#dueMs = 0;
  }

  /** The push could not be sent, for a reason that is not the push service's: it is due again after `pauseMs`. */
  postponed(push: Push, nowMs: number, pauseMs: number): void {
    if (this.#inFlight !== push) return;
    this.#inFlight = null;
    this.#waiting ??= push;
    this.#dueMs = nowMs + pauseMs;
  }

  /**
   * The push service has not taken the push. It is due again after a pause, unless a newer one has replaced it, which
   * then waits as long.
   * @param askedMs The pause that the push service asks for, in milliseconds.
   * @param random From 0 to 1.
   * @returns `dropped` if it was tried often enough, or is too old.
   */
  failed(push: Push, nowMs: number, askedMs: number, random: number): "retried" | "dropped" | "replaced" {
    if (this.#inFlight !== push) return "replaced";
    const { attempts, retryMaxMs, ttlMs } = this.#options;
    this.#inFlight = null;
    this.#attempts++;
    const isReplaced = this.#waiting !== null;
    const pauseMs = this.#pauseMs(this.#attempts);
    this.#dueMs = nowMs + Math.max(pauseMs * (0.5 + random / 2), Math.min(askedMs, retryMaxMs));
    if (isReplaced) {
      // The newer push has all of its attempts, after the pause that the push service needs.
      if (this.#attempts >= attempts) this.#attempts = 0;
      return "replaced";
    }
    if (this.#attempts >= attempts || this.#dueMs - push.atMs > Math.max(ttlMs, retryMaxMs)) {
      this.#attempts = 0;
      this.#dueMs = 0;
      return "dropped";
    }
    this.#waiting = push;
    return "retried";
  }

  /** Pause after so many failures in a row. */
  #pauseMs(failures: number): number {
    const { retryFirstMs, retryMaxMs } = this.#options;
    // Past the longest pause a higher exponent changes nothing.
    return Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(failures - 1, 30));
  }

  /** The rights to the change are gone. @returns Whether something was dropped. */
  withdraw(): boolean {
    const had = this.unaccepted !== null;
    this.#waiting = null;
    this.#inFlight = null;
    this.#attempts = 0;
    this.#dueMs = 0;
    return had;
  }
}
