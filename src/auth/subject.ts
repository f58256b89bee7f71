/**
 * Identifies the user behind a token. Quotas, tickets and revocations must agree on when two tokens belong to the same
 * user, so this file alone decides it.
 */
import { createHash } from "node:crypto";

/**
 * The user that a token speaks for, as a digest of (`iss`, `sub`): of constant size, so that it fits into tickets and
 * map keys however long a `sub` is. `iss` belongs to it because two issuers may give the same `sub` to different people
 * (RFC 7519, 4.1.2: unique within its issuer only).
 *
 * Two tokens belong to the same user exactly if both have a `sub` and their subjects are equal strings.
 */
export type SubjectDigest = string;

/** The claims of a token that identify its user. */
export interface SubjectClaims {
  readonly iss?: string | undefined;
  readonly sub?: string | undefined;
}

/**
 * Digests (`iss`, `sub`).
 * @returns `null` for a token without `sub`: it names no user, and equals no other token.
 */
export function subjectOf({ iss, sub }: SubjectClaims): SubjectDigest | null {
  if (sub === undefined) return null;
  // JSON separates the two claims, and keeps `null` apart from every string and lone surrogates apart from each other.
  // A plain concatenation would let two users share a digest.
  return createHash("sha256")
    .update(JSON.stringify([iss ?? null, sub]))
    .digest("base64url");
}

/** The part of a verified token that `holderOf` and `maySucceed` use. */
interface VerifiedToken {
  readonly claims: Readonly<Record<string, unknown>>;
  readonly subject: SubjectDigest | null;
}

/**
 * Whether a connection with the token `from` may continue with `to`. Two tokens that name no user may follow each
 * other: the client holds both, and gains nothing that a new connection would not give it.
 */
export function maySucceed(from: VerifiedToken, to: VerifiedToken): boolean {
  return from.subject === to.subject;
}

/** The holder of a ticket for anonymous clients, who all have the same rights. No digest is empty. */
const ANONYMOUS = "";

/**
 * Identifies the holder of a ticket, as a string of at most 43 characters: the user, or a digest of all claims for a
 * token that names no user, so that no other token can use the ticket.
 */
export function holderOf(token: VerifiedToken | null): string {
  if (token === null) return ANONYMOUS;
  return token.subject ?? createHash("sha256").update(JSON.stringify(token.claims)).digest("base64url");
}
