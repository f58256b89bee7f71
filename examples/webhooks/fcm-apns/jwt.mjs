/** Signs the tokens that Google and Apple ask for. */
import { createPrivateKey, sign } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/**
 * @param algorithm "RS256" (Google) or "ES256" (Apple).
 * @param key The private key as PEM text.
 */
export function signJwt(algorithm, header, claims, key) {
  const text = `${encode({ alg: algorithm, typ: "JWT", ...header })}.${encode(claims)}`;
  // A JWT has the two numbers of an elliptic signature side by side, not in DER.
  const options = { key: createPrivateKey(key), dsaEncoding: "ieee-p1363" };
  return `${text}.${sign("sha256", text, options).toString("base64url")}`;
}

/** Keeps a value for a time, and makes it once for all who ask at the same time. */
export function keptFor(ms, make) {
  let kept;
  let untilMs = 0;
  return () => {
    if (Date.now() < untilMs) return kept;
    untilMs = Date.now() + ms;
    kept = make();
    // A failure is not kept.
    kept.catch(() => {
      untilMs = 0;
    });
    return kept;
  };
}
