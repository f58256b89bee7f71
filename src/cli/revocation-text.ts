import type { Revocation } from "../source/revocation-store.ts";

/** A revocation as `tidewire revoke` prints it. */
export function textOf({ sub, iss, jti, issuedBeforeMs }: Omit<Revocation, "expiresAtMs">): string {
  const issuer = iss === null ? "" : ` iss ${JSON.stringify(iss)}`;
  const tokens =
    jti === null ? ` issued not later than ${dateOf(issuedBeforeMs ?? 0)}` : ` jti ${JSON.stringify(jti)}`;
  return `sub ${JSON.stringify(sub)}${issuer}${tokens}`;
}

/** A time as `tidewire revoke` prints it. */
export const dateOf = (ms: number): string => new Date(ms).toISOString();
