import type { Identity } from "./verify-token.ts";

/** Tokens that are refused, as the collection of revocations has them. */
export interface RevokedTokens {
  readonly sub: string;
  readonly iss: string | null;
  readonly jti: string | null;
  readonly issuedBeforeMs: number | null;
  readonly expiresAtMs: number;
}

type Judged = Pick<Identity, "sub" | "claims" | "issuedAtMs" | "tokenId">;

const issuerOf = ({ claims }: Judged): string | null =>
  typeof claims["iss"] === "string" ? claims["iss"] : null;

/**
 * Whether a revocation holds for a token. `iat` counts whole seconds at most issuers: a token issued later in the very second
 * of the revocation is refused, too.
 */
export function isRevokedBy(token: Judged, revoked: RevokedTokens, nowMs: number): boolean {
  if (revoked.expiresAtMs <= nowMs || revoked.sub !== token.sub) return false;
  if (revoked.iss !== null && revoked.iss !== issuerOf(token)) return false;
  if (revoked.jti !== null) return revoked.jti === token.tokenId;
  // A token that does not say when it was issued may be of any age.
  return (
    token.issuedAtMs === null || token.issuedAtMs <= (revoked.issuedBeforeMs ?? Number.NEGATIVE_INFINITY)
  );
}

/** The names of all revocations that could hold for a token; none for a token without `sub`. */
export function revocationsToLookFor(token: Judged): Pick<RevokedTokens, "iss" | "sub" | "jti">[] {
  const { sub, tokenId } = token;
  if (sub === null) return [];
  const issuer = issuerOf(token);
  const issuers = issuer === null ? [null] : [null, issuer];
  const ids = tokenId === null ? [null] : [null, tokenId];
  return issuers.flatMap((iss) => ids.map((jti) => ({ iss, sub, jti })));
}
