/** Tokens of many users, signed as a login service would. */
import { createHmac } from "node:crypto";

export const SECRET = "a secret of the benchmark, and of nothing else";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function tokenFor(sub, claims = {}) {
  const exp = Math.floor(Date.now() / 1_000) + 86_400;
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ ...claims, sub, exp })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}
