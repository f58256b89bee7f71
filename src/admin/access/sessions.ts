import type { Admin } from "./admin.ts";
import { digestOf, isSameDigest, newSecret } from "./digest.ts";

/** A login of an admin with a browser. */
export interface Session {
  readonly admin: Admin;
  /** The page sends it in a header with each request that is not a `GET`. A page of another origin cannot read it. */
  readonly csrf: string;
  /** In epoch milliseconds. */
  readonly endsAtMs: number;
}

/** The limits of all sessions together. */
export interface SessionLimits {
  readonly sessions: number;
  readonly sessionLifetimeMs: number;
}

/**
 * The sessions of this process. The id of a session is in a cookie; the map holds its digest, so that the time of a
 * look-up says nothing about an id.
 */
export class Sessions {
  readonly #limits: SessionLimits;
  readonly #onCount: (sessions: number) => void;
  /** The oldest first. */
  readonly #byDigest = new Map<string, Session>();

  constructor(limits: SessionLimits, onCount: (sessions: number) => void) {
    this.#limits = limits;
    this.#onCount = onCount;
  }

  /** Begins a session under an id that no request has named before. One session too many ends the oldest. */
  begin(admin: Admin, nowMs: number): { readonly id: string; readonly session: Session } {
    this.#sweep(nowMs);
    const id = newSecret();
    const lastMs = nowMs + this.#limits.sessionLifetimeMs;
    const session = { admin, csrf: newSecret(), endsAtMs: Math.min(lastMs, admin.expiresAtMs ?? lastMs) };
    this.#byDigest.set(keyOf(id), session);
    const [oldest] = this.#byDigest.keys();
    if (this.#byDigest.size > this.#limits.sessions && oldest !== undefined) this.#byDigest.delete(oldest);
    this.#onCount(this.#byDigest.size);
    return { id, session };
  }

  /** The session of an id; `null` if it has ended. */
  find(id: string, nowMs: number): Session | null {
    const session = this.#byDigest.get(keyOf(id));
    if (session === undefined) return null;
    if (session.endsAtMs > nowMs && session.admin.isTrusted()) return session;
    this.end(id);
    return null;
  }

  end(id: string): void {
    this.#byDigest.delete(keyOf(id));
    this.#onCount(this.#byDigest.size);
  }

  #sweep(nowMs: number): void {
    for (const [key, { endsAtMs }] of this.#byDigest) if (endsAtMs <= nowMs) this.#byDigest.delete(key);
  }
}

const keyOf = (id: string): string => digestOf(id).toString("base64");

/** Whether a header holds the CSRF token of a session. */
export const hasCsrf = ({ csrf }: Session, header: string | undefined): boolean =>
  header !== undefined && isSameDigest(digestOf(header), digestOf(csrf));
