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

/** The limits of sessions. */
export interface SessionLimits {
  /** Of all admins together. */
  readonly sessions: number;
  readonly sessionsPerAdmin: number;
  readonly sessionLifetimeMs: number;
}

/** Receives what happens to sessions, for metrics. */
export interface SessionsListener {
  /** The number of sessions has changed. */
  counted(sessions: number): void;
  /** A limit has ended a session. */
  ended(limit: "sessions" | "sessionsPerAdmin"): void;
}

/**
 * The sessions of this process. The id of a session is in a cookie; the map holds its digest, so that the time of a
 * look-up says nothing about an id.
 */
export class Sessions {
  readonly #limits: SessionLimits;
  readonly #listener: SessionsListener;
  /** The oldest first. */
  readonly #byDigest = new Map<string, Session>();

  constructor(limits: SessionLimits, listener: SessionsListener) {
    this.#limits = limits;
    this.#listener = listener;
  }

  /**
   * Begins a session under an id that no request has named before. One session too many ends the oldest: that of the
   * admin first, so that the logins of one admin do not end the sessions of others.
   */
  begin(admin: Admin, nowMs: number): { readonly id: string; readonly session: Session } {
    this.#sweep(nowMs);
    const id = newSecret();
    const lastMs = nowMs + this.#limits.sessionLifetimeMs;
    const session = { admin, csrf: newSecret(), endsAtMs: Math.min(lastMs, admin.expiresAtMs ?? lastMs) };
    this.#byDigest.set(keyOf(id), session);
    const own = [...this.#byDigest].filter(([, other]) => other.admin.name === admin.name);
    this.#endOldest("sessionsPerAdmin", own);
    this.#endOldest("sessions", [...this.#byDigest]);
    this.#listener.counted(this.#byDigest.size);
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
    this.#listener.counted(this.#byDigest.size);
  }

  #endOldest(
    limit: "sessions" | "sessionsPerAdmin",
    sessions: readonly (readonly [key: string, session: Session])[],
  ): void {
    const [oldest] = sessions;
    if (sessions.length <= this.#limits[limit] || oldest === undefined) return;
    this.#byDigest.delete(oldest[0]);
    this.#listener.ended(limit);
  }

  #sweep(nowMs: number): void {
    for (const [key, { endsAtMs }] of this.#byDigest) if (endsAtMs <= nowMs) this.#byDigest.delete(key);
  }
}

const keyOf = (id: string): string => digestOf(id).toString("base64");

/** Whether a header holds the CSRF token of a session. */
export const hasCsrf = ({ csrf }: Session, header: string | undefined): boolean =>
  header !== undefined && isSameDigest(digestOf(header), digestOf(csrf));
