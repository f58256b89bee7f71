import { createHash } from "node:crypto";

/** How long an entry in the audit also covers the same request of the same admin, in milliseconds. */
export const REPEATED_MS = 10 * 60_000;
/** How many requests are remembered. The oldest is forgotten first, and then has another entry. */
const REMEMBERED_MAX = 1_000;

/** Recognizes requests that a page repeats to show a live result, so that the audit has one entry for all of them. */
export class Repeats {
  /** When each was recorded, by its digest. */
  readonly #recorded = new Map<string, number>();

  /** Whether the audit has an entry of the same request already. */
  has(request: string, nowMs: number): boolean {
    const atMs = this.#recorded.get(digestOf(request));
    return atMs !== undefined && nowMs - atMs < REPEATED_MS;
  }

  /** The audit has an entry of the request now. */
  note(request: string, nowMs: number): void {
    const digest = digestOf(request);
    this.#recorded.delete(digest);
    this.#recorded.set(digest, nowMs);
    const [oldest] = this.#recorded.keys();
    if (this.#recorded.size > REMEMBERED_MAX && oldest !== undefined) this.#recorded.delete(oldest);
  }
}

const digestOf = (request: string): string => createHash("sha256").update(request).digest("base64");
