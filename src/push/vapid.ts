/**
 * VAPID (RFC 8292): identifies this application server to push services. A signed header is valid for one push service
 * and some hours, so that it is made once for many pushes.
 */
import { createECDH, createPrivateKey, type KeyObject, sign } from "node:crypto";

const CURVE = "prime256v1";
/** An uncompressed point on P-256, and a private key. In bytes. */
const PUBLIC_BYTES = 65;
const PRIVATE_BYTES = 32;

/** The key pair, in base64url. */
export interface VapidKeys {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Makes a new pair. */
export function newVapidKeys(): VapidKeys {
  const pair = createECDH(CURVE);
  const publicKey = pair.generateKeys().toString("base64url");
  // A private key with leading zeros is shorter.
  const privateKey = Buffer.alloc(PRIVATE_BYTES);
  const bytes = pair.getPrivateKey();
  bytes.copy(privateKey, PRIVATE_BYTES - bytes.length);
  return { publicKey, privateKey: privateKey.toString("base64url") };
}

/** The fault of a pair, in words that do not contain a key; `null` if the two keys belong together. */
export function vapidProblem({
  publicKey,
  privateKey,
}: VapidKeys): { readonly path: "publicKey" | "privateKey"; readonly message: string } | null {
  const advice = "`tidewire vapid-keys` makes a pair";
  if (Buffer.from(publicKey, "base64url").length !== PUBLIC_BYTES)
    return { path: "publicKey", message: `not a public key of P-256 in base64url. ${advice}` };
  const privateBytes = Buffer.from(privateKey, "base64url");
  if (privateBytes.length !== PRIVATE_BYTES)
    return { path: "privateKey", message: `not a private key of P-256 in base64url. ${advice}` };
  const pair = createECDH(CURVE);
  try {
    pair.setPrivateKey(privateBytes);
  } catch {
    return { path: "privateKey", message: `not a private key of P-256. ${advice}` };
  }
  if (pair.getPublicKey("base64url") === publicKey) return null;
  return { path: "publicKey", message: `does not belong to the private key. ${advice}` };
}

/** Push services accept a header for at most 24 hours. */
const VALID_MS = 12 * 3_600_000;
/** A header is replaced when this part of its time is over. */
const RENEW_MS = VALID_MS / 2;
/** Headers that are kept. There are few push services. */
const ORIGINS_MAX = 256;

/** Makes the `Authorization` header for push services. */
export class Vapid {
  readonly publicKey: string;
  readonly #subject: string;
  readonly #key: KeyObject;
  readonly #known = new Map<string, { readonly header: string; readonly madeAtMs: number }>();

  constructor({ subject, publicKey, privateKey }: VapidKeys & { readonly subject: string }) {
    const point = Buffer.from(publicKey, "base64url");
    this.publicKey = publicKey;
    this.#subject = subject;
    this.#key = createPrivateKey({
      format: "jwk",
      key: {
        kty: "EC",
        crv: "P-256",
        d: privateKey,
        x: point.subarray(1, 33).toString("base64url"),
        y: point.subarray(33).toString("base64url"),
      },
    });
  }

  /** The header for the push service of an endpoint. */
  headerFor({ origin }: URL, nowMs: number): string {
    const known = this.#known.get(origin);
    if (known !== undefined && nowMs - known.madeAtMs < RENEW_MS) return known.header;
    const header = `vapid t=${this.#token(origin, nowMs)}, k=${this.publicKey}`;
    if (this.#known.size >= ORIGINS_MAX) this.#known.clear();
    this.#known.set(origin, { header, madeAtMs: nowMs });
    return header;
  }

  #token(origin: string, nowMs: number): string {
    const claims = { aud: origin, exp: Math.floor((nowMs + VALID_MS) / 1_000), sub: this.#subject };
    const signed = [{ typ: "JWT", alg: "ES256" }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const signature = sign("sha256", Buffer.from(signed), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }
}
