import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** SHA-256 of a secret. */
export const digestOf = (secret: string): Buffer => createHash("sha256").update(secret).digest();

/** Compares digests, which have one length, so that the comparison takes the same time for every secret. */
export const isSameDigest = (a: Buffer, b: Buffer): boolean => timingSafeEqual(a, b);

/** The random bytes of every secret made here. */
const SECRET_BYTES = 32;

/** Makes a secret that nobody can guess. */
export const newSecret = (): string => randomBytes(SECRET_BYTES).toString("base64url");
