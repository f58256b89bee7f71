/** The user of a request that an admin tries. */
import type { Identity } from "../auth/verify-token.ts";
import type { Subject } from "../rules/grant.ts";

/** Claims, `null` for an anonymous user; or the user of a connection, as long as the user has this `sub`. */
export type TriedAs =
  | { readonly subject: Subject | null }
  | { readonly connection: string; readonly sub: string | null };

/** The user of a connection, as far as the admin may know. */
export interface TriedUser {
  readonly sub: string | null;
  /** `null` for an anonymous client, and if they are redacted. */
  readonly claims: Subject["claims"] | null;
  /** Whether claims, and the values of conditions, are left out. */
  readonly redacted: boolean;
}

/** The user of a connection, `null` for an anonymous one; `undefined` if this process has no such connection. */
export type IdentityOf = (connection: string) => Identity | null | undefined;

interface FoundUser {
  readonly subject: Subject | null;
  /** `null` if the admin gave the claims. */
  readonly user: TriedUser | null;
}

/**
 * The user of a try; `null` if this process has no such connection, or its user has another `sub` than the audit names.
 */
export function userOf(identityOf: IdentityOf, as: TriedAs, mayReadClaims: boolean): FoundUser | null {
  if ("subject" in as) return { subject: as.subject, user: null };
  const identity = identityOf(as.connection);
  if (identity === undefined || (identity?.sub ?? null) !== as.sub) return null;
  const subject = identity === null ? null : { claims: identity.claims };
  const claims = mayReadClaims ? (subject?.claims ?? null) : null;
  return { subject, user: { sub: as.sub, claims, redacted: !mayReadClaims } };
}
