import { createHash } from "node:crypto";

/** The content of verified tokens by their hash, so that the cache holds no token. It evicts the least recently used. */
export class TokenCache<T> {
  readonly #limit: number;
  readonly #entries = new Map<string, T>();

  /** Grows with each `clear`. */
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
    // A map keeps the order of insertion: what is used goes to the end.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** @param generation The one in which the entry began to be worked out: what was cleared since must not come back. */
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
