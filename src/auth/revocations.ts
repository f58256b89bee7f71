/**
 * Decides whether a revocation covers a token. The functions are pure, so that the login, the sweep over open
 * connections and the CLI apply the same rule.
 */
import type { Identity } from "./verify-token.ts";

/**
 * Tokens that are refused, as the collection of revocations describes them. `null` in `iss` covers every issuer, `null`
 * in `jti` every token issued until `issuedBeforeMs`.
 */
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
 * Whether a revocation covers a token. Most issuers write `iat` in whole seconds, so a token issued later within the
 * second of the revocation is refused, too.
 */
export function isRevokedBy(token: Judged, revoked: RevokedTokens, nowMs: number): boolean {
  if (revoked.expiresAtMs <= nowMs || revoked.sub !== token.sub) return false;
  if (revoked.iss !== null && revoked.iss !== issuerOf(token)) return false;
  if (revoked.jti !== null) return revoked.jti === token.tokenId;
  // A token without `iat` may be older than the revocation, so it is refused.
  return (
    token.issuedAtMs === null || token.issuedAtMs <= (revoked.issuedBeforeMs ?? Number.NEGATIVE_INFINITY)
  );
}

/**
 * The keys of all revocations that could cover a token; none for a token without `sub`. There are at most four, so a
 * lookup costs the same however many revocations exist.
 */
export function revocationsToLookFor(token: Judged): Pick<RevokedTokens, "iss" | "sub" | "jti">[] {
  const { sub, tokenId } = token;
  if (sub === null) return [];
  const issuer = issuerOf(token);
  const issuers = issuer === null ? [null] : [null, issuer];
  const ids = tokenId === null ? [null] : [null, tokenId];
  return issuers.flatMap((iss) => ids.map((jti) => ({ iss, sub, jti })));
}
