import { setTimeout as sleep } from "node:timers/promises";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import { classifyStreamError, StreamStalledError } from "../source/stream-errors.ts";
import { AFTER, BEFORE, type Position } from "./cursor.ts";
import type { OplogBatch, SharedStream } from "./shared-stream.ts";

/** Average wait after a failure before the stream is opened again, in milliseconds. */
const RETRY_MS = 1_000;
/**
 * A read is given up after so many failures in a row, besides those for which no server was found: an outage is waited for,
 * but where the servers answer and this read fails all the same, it always will.
 */
const FAILURES_MAX = 20;

/** Opens a stream again from a position; `null` where the oplog does not reach back to it. */
type OpenAgain = (from: Position) => Promise<SharedStream | null>;

/** The commits after a position that the history no longer holds, out of the oplog; call `end` when done. */
export class OplogRead {
  readonly #openAgain: OpenAgain;
  readonly #retryMs: number;
  /** `undefined` while it is being opened again, and after the end. */
  #stream: SharedStream | undefined;
  /** Commits up to here are covered: those of the position asked for, and later those that were given. */
  #from: Position;
  /** Still at commits that the position may cover. */
  #skipping = true;
  #left = false;
  /** Since the last progress. */
  #failures = 0;

  /** @param stream Joined already. */
  constructor(stream: SharedStream, from: Position, openAgain: OpenAgain, retryMs = RETRY_MS) {
    this.#stream = stream;
    this.#from = from;
    this.#openAgain = openAgain;
    this.#retryMs = retryMs;
  }

  /**
   * The batches, and how many entries at the front of each the position already covers. Ends without having come
   * to the present where this reader was too slow for the others. An outage of MongoDB is waited for: to start over would
   * lose the missed changes for a subscriber without a snapshot.
   */
  async *batches(): AsyncGenerator<{ batch: OplogBatch; covered: number }, void, void> {
    for (let index = 0; ; index++) {
      if (this.#stream === undefined) return;
      const batch = await this.#stream.batch(index).catch((error: unknown) => {
        if (this.#left || !this.#mayPass(error, index)) throw error;
        return { failed: error };
      });
      if (batch === null) return;
      if ("failed" in batch) {
        await this.#reopen(batch.failed);
        index = -1;
        continue;
      }
      yield { batch, covered: this.#countCovered(batch) };
      if (!this.#skipping || batch.until.clusterTime > this.#from.clusterTime) {
        this.#from = batch.until;
        this.#failures = 0;
      }
    }
  }

  /** @throws `error` where the oplog no longer reaches back so far, or nobody waits any more. */
  async #reopen(error: unknown): Promise<void> {
    this.#stream?.leave();
    this.#stream = undefined;
    let stream: SharedStream | null | "later" = "later";
    while (stream === "later") stream = await this.#tryAgain();
    if (stream === null) throw error;
    if (this.#left) {
      stream.leave();
      throw error;
    }
    this.#stream = stream;
    this.#skipping = true;
  }

  async #tryAgain(): Promise<SharedStream | null | "later"> {
    await sleep(this.#retryMs * (0.5 + Math.random()));
    try {
      return this.#left ? null : await this.#openAgain(this.#from);
    } catch (error) {
      if (!this.#mayPass(error, 0)) throw error;
      return "later";
    }
  }

  /**
   * Whether the rest may be read later.
   * @param batches The number that the stream has given. A stream that stalls at the first one has too much to look through,
   * and would have no less the next time.
   */
  #mayPass(error: unknown, batches: number): boolean {
    if (foundNoServer(error)) return true;
    if (++this.#failures > FAILURES_MAX) return false;
    if (error instanceof StreamStalledError) return batches > 0;
    return isMongoFailure(error) && classifyStreamError(error) !== "position-lost";
  }

  end(): void {
    if (this.#left) return;
    this.#left = true;
    this.#stream?.leave();
    this.#stream = undefined;
  }

  #countCovered({ entries }: OplogBatch): number {
    if (!this.#skipping) return 0;
    const { clusterTime, within } = this.#from;
    const first = entries.findIndex(
      ({ commit }) =>
        commit.clusterTime > clusterTime || (commit.clusterTime === clusterTime && within === BEFORE),
    );
    const end = first < 0 ? entries.length : first;
    if (first >= 0) this.#skipping = false;
    if (within === AFTER || within === BEFORE) return end;
    // Of several commits of its time, those up to the one that the position names.
    for (let index = 0; index < end; index++) {
      const entry = entries[index];
      if (entry?.commit.clusterTime !== clusterTime || entry.position.within !== within) continue;
      this.#skipping = false;
      return index + 1;
    }
    return end;
  }
}
