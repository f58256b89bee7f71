import type { Parcel } from "./courier.ts";
import { LANES_MAX, type Lanes } from "./lanes.ts";
import { retryDelayMs } from "./retry-schedule.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";
import type { Refusal } from "./target.ts";

/** With so many messages parked in a row because of full lanes, the sink assumes that the target refuses everything. */
const IN_ROW_MAX = 1_000;
/** Such a target is asked for about so many messages, and then left alone for a while. */
const PROBES = 16;

/** The consequence of a refusal. */
export type Verdict =
  | { readonly kind: "retry"; readonly dueAtMs: number }
  /** No attempt is left. */
  | { readonly kind: "park"; readonly reason: string }
  /** No attempt is left, and the target may be broken. */
  | { readonly kind: "pause"; readonly reason: string; readonly trouble: string };

/**
 * Decides whether a refused message waits for another attempt.
 *
 * The number of keys that wait is bounded. If the whole sink waited beyond it, a user who writes enough documents that the
 * target refuses would stop the changes of all others, so a further message is parked without another attempt. But a
 * broken target that refuses everything would soon have more parked messages than are kept. So the sink slows down after
 * many such messages without an accepted one.
 */
export class Refusals {
  readonly #options: SinkRunParts["options"];
  readonly #lanes: Lanes;
  readonly #lanesMax: number;
  #parkedInRow = 0;

  constructor({ options, lanesMax = LANES_MAX }: Pick<SinkRunParts, "options" | "lanesMax">, lanes: Lanes) {
    this.#options = options;
    this.#lanes = lanes;
    this.#lanesMax = lanesMax;
  }

  /** The target has accepted a message. */
  noteAccepted(): void {
    this.#parkedInRow = 0;
  }

  /** Decides on a message whose last attempt was refused, and is not counted in the parcel. */
  judge({ message: { key }, atMs, attempts }: Parcel, { reason, retryAfterMs = 0 }: Refusal): Verdict {
    const { spool, retry } = this.#options;
    const isTooOld = Date.now() - atMs > spool.ageMs;
    const delayMs = isTooOld ? null : retryDelayMs(attempts + 1, retry);
    if (delayMs === null) return { kind: "park", reason };
    if (this.#lanes.size < this.#lanesMax || this.#lanes.has(key))
      return { kind: "retry", dueAtMs: Date.now() + Math.max(delayMs, retryAfterMs) };
    const many = `too many refused documents wait for a retry (${this.#lanesMax})`;
    const parked = { kind: "park", reason: `${reason}; parked at once, because ${many}` } as const;
    this.#parkedInRow++;
    if (this.#parkedInRow < IN_ROW_MAX || this.#parkedInRow % PROBES !== 0) return parked;
    return { ...parked, kind: "pause", trouble: `it refuses everything, and ${many}` };
  }
}
