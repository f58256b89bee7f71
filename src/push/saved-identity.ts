import type { Identity } from "../auth/verify-token.ts";
import type { SavedIdentity } from "../source/push-store.ts";

/** The identity of a verified token in the form in which it is saved; `null` if the token names no user. */
export function toSavedIdentity({ claims, sub, subject, ...rest }: Identity): SavedIdentity | null {
  if (sub === null || subject === null) return null;
  const { issuedAtMs, tokenId, signedBy } = rest;
  return { claims: JSON.stringify(claims), sub, subject, issuedAtMs, tokenId, signedBy };
}

/** A saved identity. It outlives its token: the registration has an end of its own. */
export function identityOf({ claims, ...rest }: SavedIdentity): Identity {
  return { ...rest, claims: JSON.parse(claims), expiresAtMs: null };
}
