/**
 * Names of admins in the audit. A login service lets its users choose a `sub` in part, so no `sub` may read like the
 * name of a token or like the `sub` of another issuer.
 */
import { createHash } from "node:crypto";

/** The longest name, in characters. */
export const ADMIN_NAME_MAX = 200;
/** Characters of the `sub` in the name of an admin whose claims are too long for one. */
const SUB_SHOWN = 64;

/** The name of the holder of one of `server.admin.tokens`. */
export const nameOfToken = (name: string): string => `token:${name}`;

/** The name of the holder of `server.admin.token`. */
export const TOKEN_NAME = "token";

/** The name of the holder of a one-time URL. */
export const ONE_TIME_NAME = "url";

/** Escapes each character that a pattern finds, as in a URL. */
const escaped = (text: string, pattern: RegExp): string =>
  text.replace(pattern, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase();
    return code.length > 2 ? `%u{${code}}` : `%${code.padStart(2, "0")}`;
  });

/** Characters that no reader sees, and the mark of escaped ones. */
const UNSEEN = /[%\p{C}]/gu;
/** Those, and the one that ends an issuer. */
const UNSEEN_OR_COLON = /[%:\p{C}]/gu;

/**
 * The name of the holder of a JWT: `jwt:ISS:SUB`. The issuer is escaped, so that the second colon ends it. Claims that
 * are too long are replaced by their digest.
 */
export function nameOfJwt({
  iss,
  sub,
}: {
  readonly iss: string | null;
  readonly sub: string | null;
}): string {
  // An empty claim differs from a missing one.
  const issuer = iss === null ? "" : escaped(iss, UNSEEN_OR_COLON) || "%";
  const subject = sub === null ? "" : escaped(sub, UNSEEN) || "%";
  const name = `jwt:${issuer}:${subject}`;
  if (name.length <= ADMIN_NAME_MAX) return name;
  const digest = createHash("sha256")
    .update(JSON.stringify([iss, sub]))
    .digest("base64url");
  return `jwt-sha256:${digest}:${subject.slice(0, SUB_SHOWN)}`;
}
