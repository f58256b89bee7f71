/** Decides how long a ticket is valid, and under which tokens. */
import { createHash } from "node:crypto";
import type { Identity } from "../../auth/verify-token.ts";
import type { TicketTerms } from "../../feed/ticket.ts";

/** How long a ticket is valid, in milliseconds. */
export interface TermsOptions {
  readonly maxAgeMs: number;
  readonly clockToleranceMs: number;
}

/** 96 bits: enough to distinguish the tokens of one user, and short enough to keep tickets small. */
const TOKEN_BYTES = 12;
const SECOND_MS = 1_000;
const digests = new WeakMap<Identity, string>();

function tokenOf(identity: Identity | null): string {
  if (identity === null) return "";
  const known = digests.get(identity);
  if (known !== undefined) return known;
  const digest = createHash("sha256").update(JSON.stringify(identity.claims)).digest();
  const token = digest.subarray(0, TOKEN_BYTES).toString("base64url");
  digests.set(identity, token);
  return token;
}

/** The terms of a ticket that is sealed now, under the token of its holder. */
export function termsFor(identity: Identity | null, nowMs: number, options: TermsOptions): TicketTerms {
  const expiresAtMs = identity?.expiresAtMs ?? null;
  const untilMs = expiresAtMs === null ? null : expiresAtMs + options.clockToleranceMs;
  // Anonymous clients that ask for the same in one second share a ticket, so theirs begin with the second.
  const sealedAtMs = identity === null ? nowMs - (nowMs % SECOND_MS) : nowMs;
  return { sealedAtMs, token: tokenOf(identity), untilMs };
}

/** Whether a ticket was sealed under this very token. */
export const isSameToken = (terms: TicketTerms, identity: Identity | null): boolean =>
  terms.token === tokenOf(identity);

/**
 * Whether a ticket has ended for a token of its holder: it is too old, or between the end of the token under which it
 * was sealed and the beginning of this one there was a time in which neither granted the right.
 */
export function hasEnded(
  terms: TicketTerms,
  identity: Identity | null,
  nowMs: number,
  options: TermsOptions,
): boolean {
  if (nowMs - terms.sealedAtMs >= options.maxAgeMs) return true;
  if (terms.untilMs === null || isSameToken(terms, identity)) return false;
  return beginsAtMs(identity, nowMs) > terms.untilMs;
}

/** When a token becomes valid, in epoch milliseconds. A token without a time of issue may have been issued just now. */
function beginsAtMs(identity: Identity | null, nowMs: number): number {
  const notBefore = identity?.claims["nbf"];
  const notBeforeMs = typeof notBefore === "number" ? notBefore * 1_000 : Number.NEGATIVE_INFINITY;
  return Math.max(identity?.issuedAtMs ?? nowMs, notBeforeMs);
}

/** A ticket is renewed when half of its time is over, so that it does not end while its client is connected. */
export const isDueForRenewal = (
  { sealedAtMs }: TicketTerms,
  nowMs: number,
  { maxAgeMs }: TermsOptions,
): boolean => nowMs - sealedAtMs >= maxAgeMs / 2;
