/**
 * Bounds of a token's claims. Rules read claims for as long as the token is in force, so claims that could make a rule
 * throw, or cost much each time, are refused once, when the token is verified.
 */
import type { JwtOptions } from "./options.ts";

/** Why claims are refused: over a limit, or with a key, text or number that no document can hold unchanged. */
export type ClaimsFault = "claims-bytes" | "claims-depth" | "claims-values" | "claims-unusable";

type Limits = Pick<JwtOptions, "claimsBytes" | "claimsDepth" | "claimsValues">;

/**
 * Times that RFC 7519 defines. The verification of the token has checked them already, so no limit here applies to
 * them.
 */
const NUMERIC_DATES: ReadonlySet<string> = new Set(["exp", "nbf", "iat"]);

/**
 * Checks verified claims.
 * @param bytes Length of the payload, as JSON.
 * @returns `undefined` if rules can be evaluated over these claims.
 */
export function claimsFault(claims: object, bytes: number, limits: Limits): ClaimsFault | undefined {
  if (bytes > limits.claimsBytes) return "claims-bytes";
  let values = 0;
  let level: object[] = [claims];
  // Level by level, without recursion: a recursive walk of deeply nested claims would exhaust the stack.
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > limits.claimsDepth) return "claims-depth";
    const next: object[] = [];
    for (const container of level) {
      for (const [key, value] of Object.entries(container)) {
        if (++values > limits.claimsValues) return "claims-values";
        const isJudged = depth === 1 && NUMERIC_DATES.has(key);
        if (!isKey(key) || !(isJudged || isUsable(value))) return "claims-unusable";
        if (typeof value === "object" && value !== null) next.push(value);
      }
    }
    level = next;
  }
  return undefined;
}

/** BSON ends a key at its first NUL, so such a key would become another key in a filter. */
const isKey = (key: string) => !key.includes("\0") && isWellFormed(key);

/**
 * UTF-8 has no lone surrogates: encoding would turn two different strings into the same one, and one user into another.
 * A number beyond the range of a double was parsed as infinity, so its real value is unknown.
 */
function isUsable(value: unknown): boolean {
  if (typeof value === "string") return isWellFormed(value);
  return typeof value !== "number" || Number.isFinite(value);
}

const LONE_SURROGATE = /\p{Surrogate}/u;

const isWellFormed = (text: string) => !LONE_SURROGATE.test(text);
