import { type KeyObject, webcrypto } from "node:crypto";
import type { Algorithm } from "./algorithms.ts";

/** The hash of each algorithm with a shared secret (RFC 7518, 3.2). */
const HASHES: Partial<Record<Algorithm, string>> = { HS256: "SHA-256", HS384: "SHA-384", HS512: "SHA-512" };

/** The imported keys, by algorithm. */
const imported = new WeakMap<KeyObject, Map<string, Promise<webcrypto.CryptoKey>>>();

/**
 * The form of a key that the library uses as it is. It would import a shared secret again for every token, which costs as
 * much as the verification.
 */
export async function importedKey(
  key: KeyObject,
  algorithm: string,
): Promise<KeyObject | webcrypto.CryptoKey> {
  const hash = HASHES[algorithm as Algorithm]; // any other string has no hash
  if (key.type !== "secret" || hash === undefined) return key;
  const byAlgorithm = imported.get(key) ?? new Map<string, Promise<webcrypto.CryptoKey>>();
  imported.set(key, byAlgorithm);
  const known =
    byAlgorithm.get(algorithm) ??
    webcrypto.subtle.importKey("raw", key.export(), { name: "HMAC", hash }, false, ["verify"]);
  byAlgorithm.set(algorithm, known);
  return known;
}
