/**
 * Announces resets to a client, and limits them. A reset is often followed by a read, and a cause that stays would
 * otherwise repeat both as fast as MongoDB answers.
 */
import { TidewireError } from "../protocol/errors.ts";
import { pause } from "./pause.ts";
import type { Sink } from "./sink.ts";

/** Why the state of a client is void. */
export type ResetReason = Parameters<Sink["reset"]>[0];

/** Room that a `reset` needs, in bytes; most of it is the ticket. Rounded up. */
const RESET_BYTES = 4_096;
/** The pause before the second of consecutive resets, in milliseconds. It doubles for each further one. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 10_000;
/** More consecutive resets than this end the subscription. */
const CONSECUTIVE_MAX = 10;
/** After this time the client may subscribe again, in milliseconds. */
const RETRY_MS = 10_000;

/** The resets of one delivery. Created for the first one. */
export class Resets {
  #total = 0;
  /** How many there were since the client was up to date. */
  #consecutive = 0;
  /** The reset that the client has not been informed of. */
  #owed: ResetReason | null = null;

  get total(): number {
    return this.#total;
  }

  /** Whether the client must be informed before anything else is sent. */
  get isOwed(): boolean {
    return this.#owed !== null;
  }

  note(reason: ResetReason): void {
    this.#total++;
    this.#consecutive++;
    this.#owed = reason;
  }

  becameLive(): void {
    this.#consecutive = 0;
  }

  /**
   * Informs the client once there is room for the message.
   * @param isCurrent Whether the delivery still waits for this.
   * @returns `false` if the delivery no longer waits.
   * @throws {TidewireError} `unavailable` after too many consecutive resets.
   */
  async announce(sink: Sink, isCurrent: () => boolean): Promise<boolean> {
    const repeated = this.#consecutive - 2;
    // A slow consumer sets the pace itself, and is not ended for it.
    if (this.#consecutive > CONSECUTIVE_MAX && this.#owed !== "lagged") throw tooOften();
    if (repeated >= 0) {
      const pauseMs = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** repeated);
      // Random, so that the clients of one node do not all continue in the same moment.
      await pause(pauseMs * (0.5 + Math.random() / 2));
      if (!isCurrent()) return false;
    }
    // An ended connection has no room, and drops what is sent to it.
    await sink.room(RESET_BYTES);
    if (!isCurrent() || this.#owed === null) return false;
    sink.reset(this.#owed);
    this.#owed = null;
    return true;
  }
}

const tooOften = () =>
  new TidewireError(
    "unavailable",
    "the changes of this subscription were lost several times in a row: subscribe again later",
    {},
    { retryAfterMs: RETRY_MS },
  );
