import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { TidewireError } from "../protocol/errors.ts";
import type { SealingKey } from "../source/sealing-keys.ts";

/**
 * The purpose of a sealed text, as its first byte: one kind is never taken for another. 1 to 4 were tickets and keys
 * of earlier forms.
 */
export const SEALED = { ticket: 5, urlIdentity: 6 } as const;
/** A purpose of a sealed text, see `SEALED`. */
export type SealedKind = (typeof SEALED)[keyof typeof SEALED];

const HEADER_BYTES = 2;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** 120 bits and the byte that names the key: nobody guesses it, and it goes out with every event of a stream. */
const MARK_BYTES = 16;

/** How often keys are read again for a text of an unknown one, at most; it may just be an invented one. */
const SEEK_INTERVAL_MS = 1_000;

/**
 * Seals texts that clients keep for the service (AES-256-GCM, NIST SP 800-38D, a random nonce each): nobody else
 * can read, alter or invent them, and every node opens what another has sealed.
 */
export class Sealer {
  readonly #load: () => Promise<readonly SealingKey[]>;
  #keys: readonly SealingKey[];
  /** When an unknown key was last looked for, in epoch milliseconds. */
  #soughtAtMs = Number.NEGATIVE_INFINITY;
  #seeking: Promise<void> | undefined;

  /** @param load Reads the valid keys again, newest first: another node may have rotated them. */
  constructor(keys: readonly SealingKey[], load: () => Promise<readonly SealingKey[]>) {
    this.#keys = keys;
    this.#load = load;
  }

  /** Reads the keys again. */
  async reload(): Promise<void> {
    this.#keys = await this.#load();
  }

  /** @param secret Without it, the sealed text cannot be opened even with the keys of the service. */
  seal(kind: SealedKind, text: string, secret?: string): string {
    const newest = this.#newest();
    const header = Buffer.from([kind, newest.id]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", cipherKey(newest, secret), nonce).setAAD(header);
    const sealed = cipher.update(text, "utf8");
    return Buffer.concat([header, nonce, sealed, cipher.final(), cipher.getAuthTag()]).toString("base64url");
  }

  /** Whether a genuine sealed text need not be replaced yet: keys come and go, and the newest stays longest. */
  isSealedByNewest(sealed: string): boolean {
    return Buffer.from(sealed.slice(0, 4), "base64url")[1] === this.#newest().id;
  }

  /** The content of a sealed text; `null` if it is not a genuine one of this kind, sealed with this secret. */
  async open(kind: SealedKind, sealed: string, nowMs = Date.now(), secret?: string): Promise<string | null> {
    const bytes = decodeExactly(sealed);
    if (bytes === null || bytes.length <= HEADER_BYTES + NONCE_BYTES + TAG_BYTES) return null;
    if (bytes[0] !== kind) return null;
    const key = await this.#keyWithId(bytes[1] ?? 0, nowMs);
    return key === undefined ? null : decrypt(bytes, cipherKey(key, secret));
  }

  /** A short proof beside a text that it comes from the service (HMAC-SHA-256, RFC 2104, truncated). */
  mark(text: string): string {
    return markWith(this.#newest(), text).toString("base64url");
  }

  async isMarked(text: string, mark: string, nowMs = Date.now()): Promise<boolean> {
    const bytes = decodeExactly(mark);
    if (bytes?.length !== MARK_BYTES) return false;
    const key = await this.#keyWithId(bytes[0] ?? 0, nowMs);
    return key !== undefined && timingSafeEqual(markWith(key, text), bytes);
  }

  #newest(): SealingKey {
    const newest = this.#keys[0];
    if (newest === undefined) throw new Error("there is no key to seal with");
    return newest;
  }

  /** A key; an unknown one may be another node's, from a moment ago. All who ask meanwhile wait for the same read. */
  async #keyWithId(id: number, nowMs: number): Promise<SealingKey | undefined> {
    const known = this.#keys.find((key) => key.id === id);
    if (known !== undefined) return known;
    if (this.#seeking === undefined) {
      if (nowMs - this.#soughtAtMs < SEEK_INTERVAL_MS) return undefined;
      this.#seeking = this.#seek(nowMs).finally(() => {
        this.#seeking = undefined;
      });
    }
    await this.#seeking;
    return this.#keys.find((key) => key.id === id);
  }

  async #seek(nowMs: number): Promise<void> {
    await this.reload().catch((cause: unknown) => {
      const text = "MongoDB cannot be reached just now: try again later";
      throw new TidewireError("unavailable", text, {}, { cause });
    });
    this.#soughtAtMs = nowMs;
  }
}

/** Base64 has several spellings of the same bytes; only the one that was given is genuine. */
function decodeExactly(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : null;
}

function markWith({ id, key }: SealingKey, text: string): Buffer {
  // The label keeps this use of the key apart from sealing.
  const digest = createHmac("sha256", key).update("mark\0").update(text).digest();
  return Buffer.concat([Buffer.from([id]), digest.subarray(0, MARK_BYTES - 1)]);
}

/** The labels keep the uses of a key apart. */
function cipherKey({ key }: SealingKey, secret: string | undefined): Uint8Array {
  if (secret === undefined) return key;
  return createHmac("sha256", key).update("secret\0").update(secret).digest();
}

function decrypt(bytes: Buffer, key: Uint8Array): string | null {
  const nonceEnd = HEADER_BYTES + NONCE_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(HEADER_BYTES, nonceEnd), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bytes.subarray(0, HEADER_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(nonceEnd, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
  } catch {
    return null; // altered, or sealed by another key of this number: not genuine, whatever the reason
  }
}
