import { createHash } from "node:crypto";

/**
 * The user that a token speaks for, as a digest of (`iss`, `sub`): of constant size, so that it fits into tickets and
 * map keys however long a `sub` is. `iss` belongs to it because two issuers may give the same `sub` to different people
 * (RFC 7519, 4.1.2: unique within its issuer only).
 *
 * Two tokens belong to the same user exactly if both have a `sub` and their subjects are equal strings.
 */
export type SubjectDigest = string;

/** A token as far as it says whom it speaks for. */
export interface SubjectClaims {
  readonly iss?: string | undefined;
  readonly sub?: string | undefined;
}

/** `null` for a token without `sub`: it belongs to nobody in particular, and equals no other token. */
export function subjectOf({ iss, sub }: SubjectClaims): SubjectDigest | null {
  if (sub === undefined) return null;
  // JSON keeps the two apart, `null` from every string, and lone surrogates from each other.
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
 * Whether a connection under the token `from` may go on under `to`. If neither names a user, it may: the holder of
 * the connection holds both tokens, and gains nothing that another connection would not give.
 */
export function maySucceed(from: VerifiedToken, to: VerifiedToken): boolean {
  return from.subject === to.subject;
}

/** The holder of a ticket given to anonymous users, who all have the same rights. It equals no digest. */
const ANONYMOUS = "";

/**
 * Whom a ticket is given to, as a text of at most 43 characters: the user, or for a token that names none the claims
 * of that very token, so that no other token can use the ticket.
 */
export function holderOf(token: VerifiedToken | null): string {
  if (token === null) return ANONYMOUS;
  return token.subject ?? createHash("sha256").update(JSON.stringify(token.claims)).digest("base64url");
}
