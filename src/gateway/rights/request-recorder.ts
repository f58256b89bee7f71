/**
 * Records which requests clients make, for replays over drafts of the rules. Nothing waits for it: requests are collected
 * in memory, within a limit, and saved in batches.
 */
import { createHash } from "node:crypto";
import type { Identity } from "../../auth/verify-token.ts";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import { claimsReadBy, onlyClaims } from "../../rules/claims-read.ts";
import type { RuleSet } from "../../rules/compile-rules.ts";
import type { RecordedRequest } from "../../rules/replay-requests.ts";

/** Saves requests as text, by their digests. */
export type SaveRequests = (
  requests: readonly { readonly id: string; readonly text: string }[],
  expiresAt: Date,
) => Promise<void>;

/** The parts that the recorder works with. */
export interface RequestRecorderParts extends GuardParts {
  readonly metrics: Pick<Metrics, "unexpectedErrors" | "recordedRequests">;
  readonly save: SaveRequests;
  /** Whether an error is one of MongoDB's, so that the batch is dropped without being a fault. */
  readonly isOutage: (error: unknown) => boolean;
}

const SAVE_MS = 5_000;
/** Requests that wait to be saved. */
const WAITING_MAX = 2_000;
/** Digests of requests that were saved lately. They need not be saved again. */
const KNOWN_MAX = 10_000;
/** Longer requests are not recorded. In characters. */
const TEXT_MAX = 16_384;
/** A request that is made again is saved again after this part of the time for which it is kept. */
const RENEWED_AFTER = 0.1;

/** Collects the requests of a node. */
export class RequestRecorder {
  readonly #keptMs: number;
  readonly #parts: RequestRecorderParts;
  readonly #timer: NodeJS.Timeout;
  /** When each known request was last saved, in epoch milliseconds; the oldest first. */
  readonly #savedAtMs = new Map<string, number>();
  #waiting = new Map<string, string>();
  #saving: Promise<void> | undefined;

  /** @param keptMs How long a request is kept after it was last made. */
  constructor(keptMs: number, parts: RequestRecorderParts) {
    this.#keptMs = keptMs;
    this.#parts = parts;
    const save = guarded(parts, "requests.record", () => this.save(Date.now()));
    this.#timer = setInterval(save, SAVE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Notes a request that the rules have allowed. */
  note(rules: RuleSet, identity: Identity | null, request: QueryRequest, nowMs: number): void {
    const collection = rules.collections.get(request.collection);
    if (collection === undefined) return;
    const reads = claimsReadBy(collection);
    const claims = identity === null ? null : onlyClaims(identity.claims, reads);
    const text = JSON.stringify({ request, claims, reads } satisfies RecordedRequest);
    if (text.length > TEXT_MAX) {
      this.#drop();
      return;
    }
    const id = createHash("sha256").update(text).digest("base64url").slice(0, 22);
    const savedAtMs = this.#savedAtMs.get(id);
    if (savedAtMs !== undefined && nowMs < savedAtMs + this.#keptMs * RENEWED_AFTER) return;
    if (this.#waiting.size < WAITING_MAX || this.#waiting.has(id)) this.#waiting.set(id, text);
    else this.#drop();
  }

  /** Saves what has been collected. One batch at a time. */
  async save(nowMs: number): Promise<void> {
    if (this.#saving !== undefined || this.#waiting.size === 0) return;
    this.#saving = this.#save(nowMs).finally(() => {
      this.#saving = undefined;
    });
    await this.#saving;
  }

  async #save(nowMs: number): Promise<void> {
    const batch = [...this.#waiting].map(([id, text]) => ({ id, text }));
    this.#waiting = new Map();
    try {
      await this.#parts.save(batch, new Date(nowMs + this.#keptMs));
    } catch (error) {
      if (!this.#parts.isOutage(error)) throw error;
      this.#parts.metrics.recordedRequests.inc({ outcome: "dropped" }, batch.length);
      this.#parts.log.debug({ err: error, requests: batch.length }, "requests could not be recorded");
      return;
    }
    this.#parts.metrics.recordedRequests.inc({ outcome: "saved" }, batch.length);
    for (const { id } of batch) {
      this.#savedAtMs.delete(id);
      this.#savedAtMs.set(id, nowMs);
    }
    for (const id of this.#savedAtMs.keys()) {
      if (this.#savedAtMs.size <= KNOWN_MAX) break;
      this.#savedAtMs.delete(id);
    }
  }

  #drop(): void {
    this.#parts.metrics.recordedRequests.inc({ outcome: "dropped" });
  }
}
