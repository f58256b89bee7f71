/**
 * Seals strings that clients keep for the service, such as tickets. The service keeps no state per client, so a client
 * must prove its rights with a string that it can neither read nor change.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { TidewireError } from "../protocol/errors.ts";
import type { SealingKey } from "../source/sealing-keys.ts";

/**
 * The purpose of a sealed string, as its first byte, so that one kind is never accepted as another. 1 to 4 were tickets
 * and keys in earlier formats.
 */
export const SEALED = { ticket: 5, urlIdentity: 6 } as const;
/** A purpose of a sealed text, see `SEALED`. */
export type SealedKind = (typeof SEALED)[keyof typeof SEALED];

const HEADER_BYTES = 2;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/**
 * A truncated digest of 120 bits, and the byte that names the key. It cannot be guessed, and it is short because every
 * event of a stream carries it.
 */
const MARK_BYTES = 16;

/**
 * The shortest time between two reads of the keys because of an unknown one, in milliseconds. The key may simply be
 * invented.
 */
const SEEK_INTERVAL_MS = 1_000;

/**
 * Seals strings that clients keep for the service (AES-256-GCM, NIST SP 800-38D, with a random nonce each). Nobody else
 * can read, change or invent them, and every node opens the strings that another has sealed.
 */
export class Sealer {
  readonly #load: () => Promise<readonly SealingKey[]>;
  #keys: readonly SealingKey[];
  /** When an unknown key was last searched for, in epoch milliseconds. */
  #soughtAtMs = Number.NEGATIVE_INFINITY;
  #seeking: Promise<void> | undefined;

  /** @param load Reads the valid keys again, newest first, because another node may have rotated them. */
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

  /**
   * Whether a genuine sealed string need not be replaced yet. Rotation removes old keys, and the newest stays valid
   * longest.
   */
  isSealedByNewest(sealed: string): boolean {
    return Buffer.from(sealed.slice(0, 4), "base64url")[1] === this.#newest().id;
  }

  /**
   * Opens a sealed string.
   * @returns Its content; `null` if it is not a genuine one of this kind, sealed with this secret.
   */
  async open(kind: SealedKind, sealed: string, nowMs = Date.now(), secret?: string): Promise<string | null> {
    const bytes = decodeExactly(sealed);
    if (bytes === null || bytes.length <= HEADER_BYTES + NONCE_BYTES + TAG_BYTES) return null;
    if (bytes[0] !== kind) return null;
    const key = await this.#keyWithId(bytes[1] ?? 0, nowMs);
    return key === undefined ? null : decrypt(bytes, cipherKey(key, secret));
  }

  /** Makes a short proof that a text was issued by the service (HMAC-SHA-256, RFC 2104, truncated). */
  mark(text: string): string {
    return markWith(this.#newest(), text).toString("base64url");
  }

  /**
   * Whether a mark belongs to a text. The comparison takes constant time, so that a mark cannot be guessed byte by
   * byte.
   */
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

  /**
   * Finds a key. An unknown one may be the new key of another node, so the keys are read again. Callers during that
   * read share it.
   */
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

/** Decodes base64url. Several spellings encode the same bytes, and only the one that was issued is accepted. */
function decodeExactly(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : null;
}

function markWith({ id, key }: SealingKey, text: string): Buffer {
  // The label separates this use of the key from sealing.
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
    return null; // altered, or sealed with another key of the same number
  }
}
