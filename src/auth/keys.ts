/**
 * Reads verification keys from the configuration or a key set, and checks them against the algorithms that they are to
 * serve. A key of the wrong type, curve or size is refused at the start, not at the first token.
 */
import {
  createHash,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { readFileSync } from "node:fs";
import { ALGORITHM_FAMILIES, type Algorithm } from "./algorithms.ts";
import { secretProblem } from "./key-source.ts";

/** A key, and the algorithms that it may verify. */
export interface VerifyKey {
  readonly key: KeyObject;
  readonly algorithms: readonly Algorithm[];
  /** Digest of the key itself, independent of its `kid`: an issuer may reuse an old `kid` for a new key. */
  readonly fingerprint: string;
}

/**
 * The key and the algorithm under which a token was verified, as one string. Connections and single-use keys keep it
 * with the identity, so that they end when the key is no longer trusted.
 */
export const signedByOf = (algorithm: string, { fingerprint }: VerifyKey): string =>
  `${algorithm} ${fingerprint}`;

/** A key together with the algorithms for which it may be used, and its fingerprint. */
export function toVerifyKey(key: KeyObject, algorithms: readonly Algorithm[]): VerifyKey {
  const bytes = key.type === "secret" ? key.export() : key.export({ type: "spki", format: "der" });
  const fingerprint = createHash("sha256").update("tidewire key\0").update(bytes).digest("base64url");
  return { key, algorithms, fingerprint };
}

/** A key that cannot be used. The message says why and what to do, and does not contain the key. */
export class KeyRefused extends Error {
  override readonly name = "KeyRefused";
}

/** The minimum of RFC 7518, 3.3 and 3.5, in bits. */
const RSA_BITS = 2_048;
const CURVES = { ES256: "prime256v1", ES384: "secp384r1", ES512: "secp521r1" } as const;

/**
 * Makes a key of a shared secret.
 * @throws {KeyRefused} The secret is too short, or is a key of another kind.
 */
export function secretKey(secret: string, algorithms: readonly Algorithm[]): VerifyKey {
  const problem = secretProblem(secret, algorithms);
  if (problem !== undefined) throw new KeyRefused(`the secret: ${problem}`);
  return toVerifyKey(createSecretKey(Buffer.from(secret, "utf8")), algorithms);
}

/**
 * Reads a public key file (PEM of a key or a certificate, or one JWK).
 * @throws {KeyRefused} The file cannot be read, or its key does not serve the algorithms.
 */
export function loadPublicKey(path: string, algorithms: readonly Algorithm[]): VerifyKey {
  // A frequent mistake. Without this check the cause of the error would contain the key, as a path.
  if (path.includes("-----BEGIN") || path.trimStart().startsWith("{")) {
    throw new KeyRefused("publicKey holds a key; put the key into a file and name the file");
  }
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new KeyRefused("the file of publicKey cannot be read; check its path and rights", { cause });
  }
  return publicKeyOf(text, algorithms);
}

/**
 * Parses the content of a public key file.
 * @throws {KeyRefused} It is no public key, or it does not serve one of the algorithms.
 */
export function publicKeyOf(file: string, algorithms: readonly Algorithm[]): VerifyKey {
  const text = withoutMark(file);
  // Node would derive the public key from a private one. It is refused anyway, because a verifying service has no need
  // for a private key and every copy of it is a risk.
  if (text.includes("PRIVATE KEY-----")) throw new KeyRefused(PRIVATE);
  const key = text.trimStart().startsWith("{") ? fromJwkText(text) : fromPem(text);
  for (const algorithm of algorithms) {
    const misfit = misfitOf(key, algorithm);
    if (misfit !== undefined) throw new KeyRefused(`publicKey does not serve ${algorithm}: ${misfit}`);
  }
  return toVerifyKey(key, algorithms);
}

/** Removes a byte order mark. Some editors put one at the start of a file, and JSON.parse refuses it. */
export const withoutMark = (text: string): string => text.replace(/^\uFEFF/, "");

const PRIVATE =
  "publicKey is a private key; name the public one (openssl pkey -pubout), and keep this one elsewhere";
const KINDS = "a public key or certificate as PEM, or one public JWK";

function fromPem(text: string): KeyObject {
  try {
    return text.includes("BEGIN CERTIFICATE") ? new X509Certificate(text).publicKey : createPublicKey(text);
  } catch (cause) {
    throw new KeyRefused(`publicKey is not ${KINDS}`, { cause });
  }
}

function fromJwkText(text: string): KeyObject {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text);
  } catch (cause) {
    throw new KeyRefused(`publicKey is not ${KINDS}`, { cause });
  }
  if (typeof jwk === "object" && jwk !== null && "keys" in jwk) {
    throw new KeyRefused("publicKey is a set of keys; name it as jwksUri: file:///path instead");
  }
  return fromJwk(jwk);
}

/**
 * Converts one JWK into a public key.
 * @throws {KeyRefused} It is secret, private, for encryption, or not understood.
 */
export function fromJwk(jwk: unknown): KeyObject {
  if (typeof jwk !== "object" || jwk === null) throw new KeyRefused("a JWK is an object");
  const { kty, use, key_ops: operations } = jwk as Record<string, unknown>; // any JSON object; each is checked
  if (kty === "oct")
    throw new KeyRefused("a symmetric key (kty oct) among public ones: anyone who reads it can sign");
  if ("d" in jwk) throw new KeyRefused("a private key (d) among public ones: anyone who reads it can sign");
  if (use !== undefined && use !== "sig") throw new KeyRefused("a key that is not for signatures (use)");
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) {
    throw new KeyRefused("a key that is not for verifying (key_ops)");
  }
  try {
    // Node validates the members of the JWK, so they are not checked here.
    return createPublicKey({ key: jwk as JsonWebKey, format: "jwk" });
  } catch (cause) {
    throw new KeyRefused("a JWK of a kind that is not supported, or damaged", { cause });
  }
}

/** Why a key cannot verify an algorithm's signatures; `undefined` if it can. */
export function misfitOf(key: KeyObject, algorithm: Algorithm): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const family = ALGORITHM_FAMILIES[algorithm];
  switch (family) {
    case "HS":
      return "that needs a secret";
    case "RS":
    case "PS":
      if (type !== "rsa") return `it is of type ${type}, not rsa`;
      return (details?.modulusLength ?? 0) < RSA_BITS ? `it has less than ${RSA_BITS} bits` : undefined;
    case "ES": {
      // The ES family contains exactly these three algorithms.
      const curve = CURVES[algorithm as keyof typeof CURVES];
      if (type !== "ec") return `it is of type ${type}, not ec`;
      return details?.namedCurve === curve ? undefined : `its curve is ${details?.namedCurve}, not ${curve}`;
    }
    case "EdDSA":
      return type === "ed25519" ? undefined : `it is of type ${type}, not ed25519`;
  }
}
