import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { SealingKey } from "../source/sealing-keys.ts";

/** What a subscription was allowed to see, and since when; sealed, so that only the service can say so. */
export interface Ticket {
  /** Key of the live query. */
  readonly key: string;
  /** Cursor at which the subscription began. */
  readonly since: string;
  /** Who it was given to; `null` for an anonymous user. */
  readonly sub: string | null;
}

const VERSION = 1;
const HEADER_BYTES = 2;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** How often keys are read again for a ticket of an unknown one, at most; it may just be an invented one. */
const RELOAD_INTERVAL_MS = 10_000;

/** Seals and opens tickets (AES-256-GCM, NIST SP 800-38D, a random nonce each). */
export class TicketSealer {
  readonly #load: () => Promise<readonly SealingKey[]>;
  #keys: readonly SealingKey[];
  #loadedAtMs: number;

  /** @param load Reads the valid keys again, newest first: another node may have rotated them. */
  constructor(keys: readonly SealingKey[], load: () => Promise<readonly SealingKey[]>, nowMs = Date.now()) {
    this.#keys = keys;
    this.#load = load;
    this.#loadedAtMs = nowMs;
  }

  /** Reads the keys again. */
  async reload(nowMs = Date.now()): Promise<void> {
    this.#loadedAtMs = nowMs;
    this.#keys = await this.#load();
  }

  seal(ticket: Ticket): string {
    const newest = this.#keys[0];
    if (newest === undefined) throw new Error("there is no key to seal tickets with");
    const header = Buffer.from([VERSION, newest.id]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", newest.key, nonce).setAAD(header);
    const sealed = cipher.update(JSON.stringify([ticket.key, ticket.since, ticket.sub]), "utf8");
    return Buffer.concat([header, nonce, sealed, cipher.final(), cipher.getAuthTag()]).toString("base64url");
  }

  /** What is in a ticket; `null` if it is not a genuine one. */
  async open(ticket: string, nowMs = Date.now()): Promise<Ticket | null> {
    const bytes = Buffer.from(ticket, "base64url");
    if (bytes.length <= HEADER_BYTES + NONCE_BYTES + TAG_BYTES || bytes[0] !== VERSION) return null;
    // Base64 has several spellings of the same bytes; only the one that was given is genuine.
    if (bytes.toString("base64url") !== ticket) return null;
    const key = await this.#keyWithId(bytes[1] ?? 0, nowMs);
    return key === undefined ? null : decrypt(bytes, key);
  }

  async #keyWithId(id: number, nowMs: number): Promise<SealingKey | undefined> {
    const known = this.#keys.find((key) => key.id === id);
    if (known !== undefined || nowMs - this.#loadedAtMs < RELOAD_INTERVAL_MS) return known;
    await this.reload(nowMs);
    return this.#keys.find((key) => key.id === id);
  }
}

function decrypt(bytes: Buffer, key: SealingKey): Ticket | null {
  const nonceEnd = HEADER_BYTES + NONCE_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key.key, bytes.subarray(HEADER_BYTES, nonceEnd), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bytes.subarray(0, HEADER_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const text =
      decipher.update(bytes.subarray(nonceEnd, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
    // Sealed by us, so it has the shape that `seal` gave it.
    const [liveQueryKey, since, sub] = JSON.parse(text) as [string, string, string | null];
    return { key: liveQueryKey, since, sub };
  } catch {
    return null; // altered, or sealed by another key of this number: not genuine, whatever the reason
  }
}
