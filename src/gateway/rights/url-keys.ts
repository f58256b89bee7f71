import { createHash, randomBytes } from "node:crypto";
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { SEALED, type Sealer } from "../../feed/sealer.ts";
import type { TicketSealer } from "../../feed/ticket.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { EventId } from "./event-id.ts";

/** How long keys of URLs are valid, and how many a user may have. */
export interface UrlKeyOptions {
  /** How long a key may be used for the first time, in milliseconds. */
  readonly lifetimeMs: number;
  /** How many keys a user may have. */
  readonly perUser: number;
  /**
   * How long a key whose token has no end is kept after its last use, in milliseconds: as long as a ticket is valid.
   */
  readonly maxAgeMs: number;
  /** How far the issuer's clock may be from ours, in milliseconds. */
  readonly clockToleranceMs: number;
}

/** A saved key, under the digest of the key. Times are in epoch milliseconds. */
export interface UrlKeysStore {
  /**
   * Saves an unused key.
   * @returns How many older keys of the user it evicted.
   */
  add(key: NewUrlKey, nowMs: number, expiresAtMs: number, limit: number): Promise<number>;
  find(id: string): Promise<{ readonly sealed: string; readonly isUsed: boolean } | null>;
  /** Uses a key on all nodes; `false` if it was used before. */
  spend(id: string, nowMs: number, expiresAtMs: number): Promise<boolean>;
  /** Keeps a used key for longer. */
  keep(id: string, nowMs: number, expiresAtMs: number): Promise<void>;
}

/** A key as it is saved. */
export interface NewUrlKey {
  readonly id: string;
  /** A digest of the user. */
  readonly user: string;
  readonly sealed: string;
}

/** The sealers of identities and tickets, and the store of keys. */
export interface UrlKeyParts {
  readonly sealer: Sealer;
  readonly tickets: TicketSealer;
  readonly store: UrlKeysStore;
  readonly metrics: Pick<Metrics, "urlKeys">;
}

/** The answer to `POST /v1/key`. */
export interface IssuedKey {
  readonly key: string;
  /** Until when it opens a stream for the first time, in epoch milliseconds. */
  readonly expires: number;
}

/** The sealed content of a saved key: the identity of the user. The token itself is not in it. */
interface SealedIdentity {
  readonly useByMs: number;
  readonly identity: Identity;
}

const KEY_BYTES = 32;
/** 32 bytes in base64url. */
const KEY_FORM = /^[\w-]{43}$/;
/** Clocks of nodes differ, so a key is saved this much longer than it can be used, in milliseconds. */
const CLOCK_MARGIN_MS = 60_000;
/** The latest time that a `Date` can hold. */
const LATEST_MS = 8.64e15;

/**
 * Single-use keys for `EventSource`, which cannot set headers. A key is random, and has the same size for every token,
 * because proxies refuse long URLs. The claims are in the state database, sealed under the key itself, so that a reader
 * of the database learns none of them and can open no stream. A key appears in a URL and so in logs, therefore it opens
 * one stream, soon. Only that browser's own reconnection may repeat it. Such a reconnection is recognized by an event
 * id that was never in a URL.
 */
export class UrlKeys {
  readonly #options: UrlKeyOptions;
  readonly #parts: UrlKeyParts;

  constructor(options: UrlKeyOptions, parts: UrlKeyParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * Issues a key for this identity, valid until its token expires.
   * @throws {TidewireError} `unavailable`
   */
  async issue(identity: Identity, nowMs = Date.now()): Promise<IssuedKey> {
    const { sealer, store, metrics } = this.#parts;
    const key = randomBytes(KEY_BYTES).toString("base64url");
    const useByMs = Math.min(nowMs + this.#options.lifetimeMs, this.#endOf(identity));
    const content: SealedIdentity = { useByMs, identity };
    const sealed = sealer.seal(SEALED.urlIdentity, JSON.stringify(content), key);
    const saved = { id: idOf(key), user: holderOf(identity), sealed };
    const until = useByMs + CLOCK_MARGIN_MS;
    const evicted = await orUnavailable(store.add(saved, nowMs, until, this.#options.perUser));
    metrics.urlKeys.inc({ outcome: "issued" });
    metrics.urlKeys.inc({ outcome: "evicted" }, evicted);
    return { key, expires: useByMs };
  }

  /**
   * Redeems a key.
   * @param lastEventId Sent by a browser's reconnection.
   * @throws {TidewireError} `unauthenticated`; `unavailable` if it is unknown whether the key was used before.
   */
  async redeem(key: string, lastEventId: EventId | null, nowMs = Date.now()): Promise<Identity> {
    const { urlKeys } = this.#parts.metrics;
    try {
      const { identity, isAgain } = await this.#redeem(key, lastEventId, nowMs);
      urlKeys.inc({ outcome: isAgain ? "used-again" : "used" });
      return identity;
    } catch (error) {
      urlKeys.inc({ outcome: "refused" });
      throw error;
    }
  }

  async #redeem(key: string, lastEventId: EventId | null, nowMs: number) {
    const { sealer, store } = this.#parts;
    if (!KEY_FORM.test(key)) throw refusal("invalid", "the key is not genuine");
    const id = idOf(key);
    const saved = await orUnavailable(store.find(id));
    const text = saved === null ? null : await sealer.open(SEALED.urlIdentity, saved.sealed, nowMs, key);
    if (saved === null || text === null) throw refusal("invalid", "the key is unknown or has expired");
    // Only this service can seal, so the content has the form that `issue` wrote.
    const { useByMs, identity } = JSON.parse(text) as SealedIdentity;
    if (this.#endOf(identity) <= nowMs)
      throw refusal("expired", "the token that the key was made from has expired");
    const keepUntilMs = this.#keepUntilMs(identity, nowMs);
    if (saved.isUsed && lastEventId !== null && (await this.#isOwn(lastEventId, identity))) {
      if (identity.expiresAtMs === null) await orUnavailable(store.keep(id, nowMs, keepUntilMs));
      return { identity, isAgain: true };
    }
    if (saved.isUsed) throw refusal("invalid", "the key has been used");
    if (useByMs <= nowMs) throw refusal("expired", "the key is too old");
    const isFirst = await orUnavailable(store.spend(id, nowMs, keepUntilMs));
    if (!isFirst) throw refusal("invalid", "the key has been used");
    return { identity, isAgain: false };
  }

  /** Whether the id was sent to the same user, in a stream. Without a `sub`, users cannot be distinguished. */
  async #isOwn({ mark, ticket }: EventId, identity: Identity): Promise<boolean> {
    if (!(await this.#parts.tickets.isMarked(ticket, mark))) return false;
    const opened = await this.#parts.tickets.open(ticket);
    return opened !== null && identity.subject !== null && opened.holder === holderOf(identity);
  }

  #endOf({ expiresAtMs }: Identity): number {
    return expiresAtMs === null ? Number.POSITIVE_INFINITY : expiresAtMs + this.#options.clockToleranceMs;
  }

  /** A used key is kept for the reconnections of its stream. These cannot resume once their ticket is too old. */
  #keepUntilMs(identity: Identity, nowMs: number): number {
    const endMs = identity.expiresAtMs === null ? nowMs + this.#options.maxAgeMs : this.#endOf(identity);
    return Math.min(endMs + CLOCK_MARGIN_MS, LATEST_MS);
  }
}

/** The id under which a key is saved. The key cannot be computed from it. */
const idOf = (key: string) => createHash("sha256").update(key).digest("base64url");

function orUnavailable<T>(asked: Promise<T>): Promise<T> {
  return asked.catch((cause: unknown) => {
    throw new TidewireError(
      "unavailable",
      "MongoDB cannot be reached just now: try again later",
      {},
      { cause },
    );
  });
}

const refusal = (reason: string, text: string) =>
  new TidewireError(
    "unauthenticated",
    `${text}: get another from POST /v1/key`,
    { reason },
    { retry: "token" },
  );
