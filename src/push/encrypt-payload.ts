/**
 * Encrypts the payload of a push for one browser (RFC 8291, in the form of RFC 8188). The push service that carries it
 * cannot read it.
 */
import { createCipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";

/** The keys of a push subscription: the public key of the browser, and its secret. */
export interface SubscriptionKeys {
  readonly p256dh: Uint8Array;
  readonly auth: Uint8Array;
}

/** The random parts of one encryption. Tests give those of the RFC. */
export interface Randomness {
  readonly salt: Uint8Array;
  readonly privateKey: Uint8Array;
}

const SALT_BYTES = 16;
const POINT_BYTES = 65;
const TAG_BYTES = 16;
/** `salt || record size || length of the key || key`. */
const HEADER_BYTES = SALT_BYTES + 4 + 1 + POINT_BYTES;
/** Push services take at least this much (RFC 8030, 7.2). */
const BODY_BYTES = 4_096;
/** The last record ends with this byte, and with zeros after it. */
const LAST_RECORD = 2;
/** Payloads are padded to a multiple of this, so that the push service does not learn their length. In bytes. */
const STEP_BYTES = 512;

/** The largest payload, in bytes. */
export const PAYLOAD_BYTES_MAX = BODY_BYTES - HEADER_BYTES - TAG_BYTES - 1;

/**
 * Encrypts a payload.
 * @throws {Error} The keys are not those of a browser. `parseRegistration` has checked them.
 */
export function encryptPayload(
  payload: Uint8Array,
  { p256dh, auth }: SubscriptionKeys,
  random?: Randomness,
  stepBytes = STEP_BYTES,
): Buffer {
  const salt = random?.salt ?? randomBytes(SALT_BYTES);
  const sender = createECDH("prime256v1");
  if (random === undefined) sender.generateKeys();
  else sender.setPrivateKey(Buffer.from(random.privateKey));
  const senderKey = sender.getPublicKey();
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), p256dh, senderKey]);
  const secret = hkdf(sender.computeSecret(p256dh), auth, info, 32);
  const key = hkdf(secret, salt, Buffer.from("Content-Encoding: aes128gcm\0"), 16);
  const nonce = hkdf(secret, salt, Buffer.from("Content-Encoding: nonce\0"), 12);
  const header = Buffer.alloc(5);
  header.writeUInt32BE(BODY_BYTES, 0);
  header.writeUInt8(POINT_BYTES, 4);
  const cipher = createCipheriv("aes-128-gcm", key, nonce);
  const record = Buffer.alloc(paddedBytes(payload.length, stepBytes) + 1);
  record.set(payload);
  record.writeUInt8(LAST_RECORD, payload.length);
  const body = [cipher.update(record), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat([salt, header, senderKey, ...body]);
}

const paddedBytes = (size: number, step: number): number =>
  Math.max(size, Math.min(Math.ceil(size / step) * step, PAYLOAD_BYTES_MAX));

const hkdf = (key: Uint8Array, salt: Uint8Array, info: Uint8Array, size: number): Buffer =>
  Buffer.from(hkdfSync("sha256", key, salt, info, size));
