import { randomBytes } from "node:crypto";
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { SEALED, type Sealer } from "../../feed/sealer.ts";
import type { TicketSealer } from "../../feed/ticket.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { EventId } from "./event-id.ts";

/** How long a key of a URL counts. */
export interface UrlKeyOptions {
  /** How long a key may be used for the first time, in milliseconds. */
  readonly lifetimeMs: number;
  /** How far the token's issuer's clock may be from ours, in milliseconds. */
  readonly clockToleranceMs: number;
}

/** The sealers of keys and tickets, and the record of spent keys. */
export interface UrlKeyParts {
  readonly sealer: Sealer;
  readonly tickets: TicketSealer;
  /** Uses a key up on all nodes; `false` if it was used before. */
  readonly spend: (id: string, expiresAtMs: number) => Promise<boolean>;
}

/** The answer to `POST /v1/key`. */
export interface IssuedKey {
  readonly key: string;
  /** Until when it opens a stream for the first time, in epoch milliseconds. */
  readonly expires: number;
}

/** The sealed content of a key: the user that it speaks for. The token itself is not in it. */
interface SealedKey {
  readonly id: string;
  readonly useByMs: number;
  readonly identity: Identity;
}

const ID_BYTES = 12;
/** Clocks of nodes differ; a used key is remembered this much longer than it can be used, in milliseconds. */
const CLOCK_MARGIN_MS = 60_000;

/**
 * Single-use keys for `EventSource`, which cannot set headers. A key stands in a URL, and so in logs: it opens
 * one stream, soon. Only that browser's own reconnection may repeat it, which shows itself by an event id that
 * was never in a URL.
 */
export class UrlKeys {
  readonly #options: UrlKeyOptions;
  readonly #parts: UrlKeyParts;

  constructor(options: UrlKeyOptions, parts: UrlKeyParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** A key that speaks for this identity until its token expires. */
  issue(identity: Identity, nowMs = Date.now()): IssuedKey {
    const endMs = this.#endOf(identity);
    const key: SealedKey = {
      id: randomBytes(ID_BYTES).toString("base64url"),
      useByMs: Math.min(nowMs + this.#options.lifetimeMs, endMs),
      identity,
    };
    return { key: this.#parts.sealer.seal(SEALED.urlKey, JSON.stringify(key)), expires: key.useByMs };
  }

  /**
   * Takes a key.
   * @param lastEventId What a browser's reconnection brought.
   * @throws {TidewireError} `unauthenticated`; `unavailable` where it is unknown whether the key was used before.
   */
  async redeem(key: string, lastEventId: EventId | null, nowMs = Date.now()): Promise<Identity> {
    const text = await this.#parts.sealer.open(SEALED.urlKey, key, nowMs);
    if (text === null) throw refusal("invalid", "the key is not genuine");
    // Sealed by us, so it has the shape that `issue` gave it.
    const { id, useByMs, identity } = JSON.parse(text) as SealedKey;
    if (this.#endOf(identity) <= nowMs)
      throw refusal("expired", "the token that the key was made from has expired");
    if (lastEventId !== null && (await this.#isOwn(lastEventId, identity))) return identity;
    if (useByMs <= nowMs) throw refusal("expired", "the key is too old");
    const isFirst = await this.#parts.spend(id, useByMs + CLOCK_MARGIN_MS).catch((cause: unknown) => {
      throw new TidewireError(
        "unavailable",
        "MongoDB cannot be reached just now: try again later",
        {},
        { cause },
      );
    });
    if (!isFirst) throw refusal("invalid", "the key has been used");
    return identity;
  }

  /** Whether the id was sent to the same user, in a stream. Without a `sub` users cannot be distinguished. */
  async #isOwn({ mark, ticket }: EventId, identity: Identity): Promise<boolean> {
    if (!(await this.#parts.tickets.isMarked(ticket, mark))) return false;
    const opened = await this.#parts.tickets.open(ticket);
    return opened !== null && identity.subject !== null && opened.holder === holderOf(identity);
  }

  #endOf({ expiresAtMs }: Identity): number {
    return expiresAtMs === null ? Number.POSITIVE_INFINITY : expiresAtMs + this.#options.clockToleranceMs;
  }
}

const refusal = (reason: string, text: string) =>
  new TidewireError(
    "unauthenticated",
    `${text}: get another from POST /v1/key`,
    { reason },
    { retry: "token" },
  );
