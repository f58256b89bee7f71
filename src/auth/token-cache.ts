/**
 * Caches verified tokens. After a restart of a proxy thousands of clients return with the same tokens within seconds,
 * and a signature check costs far more than a hash.
 */
import { createHash } from "node:crypto";

/**
 * Verified tokens by their hash, so that the cache contains no token. It evicts the least recently
 * used.
 */
export class TokenCache<T> {
  readonly #limit: number;
  readonly #entries = new Map<string, T>();

  /**
   * Grows by one with each `clear`. A verification that began before a `clear` compares it and does not store its
   * result.
   */
  #generation = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  get generation(): number {
    return this.#generation;
  }

  get(token: string): T | undefined {
    const key = keyOf(token);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // A map keeps the order of insertion, so a used entry moves to the end, and the first one is the least recently
    // used.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /**
   * @param generation The generation in which the verification began. If the cache was cleared since, the entry may
   *   have been verified with a retired key, and is not stored.
   */
  set(token: string, entry: T, generation = this.#generation): void {
    if (this.#limit === 0 || generation !== this.#generation) return;
    this.#entries.set(keyOf(token), entry);
    if (this.#entries.size <= this.#limit) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  delete(token: string): void {
    this.#entries.delete(keyOf(token));
  }

  clear(): void {
    this.#entries.clear();
    this.#generation++;
  }
}

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}
