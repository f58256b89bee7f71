/**
 * Reads the missed commits of one resumption from the oplog. MongoDB may fail in the middle, and starting over would
 * lose the changes of a subscriber without a snapshot, so the read continues from the last batch that it delivered. In
 * the same way it leaves its stream to others who wait, and continues after them, also if it was overtaken by the other
 * readers of its stream.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import { classifyStreamError, StreamStalledError } from "../source/stream-errors.ts";
import { AFTER, BEFORE, type Position } from "./cursor.ts";
import type { OplogBatch, SharedStream } from "./shared-stream.ts";

/** Average pause after a failure before the stream is opened again, in milliseconds. */
const RETRY_MS = 1_000;
/**
 * A read is given up after this many consecutive failures, not counting those for which no server was found. An outage
 * passes, but if the servers answer and the read still fails, it always will.
 */
const FAILURES_MAX = 20;

/** Why the read needs another stream: the failure of the last one, or `null` if others wait for it or have overtaken. */
interface Interruption {
  readonly interruptedBy: { readonly error: unknown } | null;
}
const LEFT_BEHIND: Interruption = { interruptedBy: null };

/** A batch for one reader, who need not send what its position covers already. */
export interface OplogPart {
  /** Empty once the reader has put it back. */
  batch: OplogBatch;
  /** The number of entries at the beginning that are covered. */
  readonly covered: number;
}

/** Opens a stream again from a position; `null` if the oplog does not reach back to it. */
type OpenAgain = (from: Position) => Promise<SharedStream | null>;

/** The commits after a position that the history no longer contains, read from the oplog. Call `end` when done. */
export class OplogRead {
  readonly #openAgain: OpenAgain;
  readonly #retryMs: number;
  /** `undefined` while the stream is being opened again, after it was left to others, and after the end. */
  #stream: SharedStream | undefined;
  /** Commits up to here are covered: first those of the requested position, later those that were delivered. */
  #from: Position;
  /** Whether the stream is still at commits that the position may cover. */
  #skipping = true;
  /** Whether the reader has put the last batch back. */
  #isPutBack = false;
  /** Whether the reader has left. Later failures then end the read. */
  #left = false;
  /** Failures since the last progress. */
  #failures = 0;

  /** @param stream The caller has joined it already. */
  constructor(stream: SharedStream, from: Position, openAgain: OpenAgain, retryMs = RETRY_MS) {
    this.#from = from;
    this.#openAgain = openAgain;
    this.#retryMs = retryMs;
    this.#take(stream);
  }

  #take(stream: SharedStream): void {
    this.#stream = stream;
    stream.whenGivingWay(() => {
      // Also while the reader waits for room, because others must not wait for a slow client.
      if (this.#stream === stream) this.#letGo();
    });
  }

  #letGo(): void {
    this.#stream?.leave();
    this.#stream = undefined;
  }

  /**
   * The batches. It ends before the present if the oplog no longer reaches back to where the reader is. An outage of
   * MongoDB is waited for, because starting over would lose the missed changes of a subscriber without a snapshot.
   */
  async *batches(): AsyncGenerator<OplogPart, void, void> {
    for (let index = 0; ; index++) {
      const part = await this.#part(index);
      if (part === null) return;
      if ("interruptedBy" in part) {
        if (!(await this.#reopen(part.interruptedBy))) return;
        index = -1;
        continue;
      }
      yield part;
      const { until } = part.batch;
      if (this.#isPutBack) index--;
      else if (!this.#skipping || until.clusterTime > this.#from.clusterTime) this.#progressTo(until);
      this.#isPutBack = false;
    }
  }

  /**
   * Puts a batch back before all of it was sent, so that a reader that waits for room keeps none in memory. The rest of
   * it follows as the next part.
   * @param position The reader has sent everything up to there; `null` if it has sent nothing of the batch.
   */
  putBack(part: OplogPart, position: Position | null): void {
    if (position !== null) this.#progressTo(position);
    part.batch = { entries: [], until: this.#from };
    this.#skipping = true;
    this.#isPutBack = true;
  }

  #progressTo(position: Position): void {
    this.#from = position;
    this.#failures = 0;
  }

  /** Batch number `index`; `null` at the end; or the interruption after which the stream is to be opened again. */
  async #part(index: number): Promise<OplogPart | Interruption | null> {
    const stream = this.#stream;
    if (this.#left) return null;
    if (stream === undefined) return LEFT_BEHIND;
    const gaveWay = () => this.#stream !== stream && !this.#left;
    try {
      const batch = await stream.batch(index);
      // The oplog still contains a batch that was dropped because other readers are faster.
      if (batch === "overtaken") return LEFT_BEHIND;
      if (batch !== null) return { batch, covered: this.#countCovered(batch) };
      // A stream that all readers have left to others ends early.
      return gaveWay() ? LEFT_BEHIND : null;
    } catch (error) {
      if (gaveWay()) return LEFT_BEHIND;
      if (this.#left || !this.#mayPass(error, index)) throw error;
      return { interruptedBy: { error } };
    }
  }

  /**
   * Opens the stream again, after a pause if it has failed.
   * @returns `false` if the oplog no longer reaches back that far, or the reader has left.
   * @throws The error of the failed stream, if there is one, instead of `false`.
   */
  async #reopen(failure: { readonly error: unknown } | null): Promise<boolean> {
    this.#letGo();
    let stream: SharedStream | null | "later" = failure === null ? await this.#tryAgain() : "later";
    while (stream === "later") {
      await sleep(this.#retryMs * (0.5 + Math.random()));
      stream = await this.#tryAgain();
    }
    if (stream !== null && !this.#left) {
      this.#take(stream);
      this.#skipping = true;
      return true;
    }
    stream?.leave();
    if (failure !== null) throw failure.error;
    return false;
  }

  async #tryAgain(): Promise<SharedStream | null | "later"> {
    try {
      return this.#left ? null : await this.#openAgain(this.#from);
    } catch (error) {
      if (!this.#mayPass(error, 0)) throw error;
      return "later";
    }
  }

  /**
   * Whether the rest may be read later.
   * @param batches The number of batches that the stream has delivered. A stream that stalls at the first one has too
   *   much to search, and a second attempt would have no less.
   */
  #mayPass(error: unknown, batches: number): boolean {
    if (foundNoServer(error)) return true;
    if (++this.#failures > FAILURES_MAX) return false;
    if (error instanceof StreamStalledError) return batches > 0;
    return isMongoFailure(error) && classifyStreamError(error) !== "position-lost";
  }

  /** Whether the reader has not left. */
  get isOpen(): boolean {
    return !this.#left;
  }

  end(): void {
    if (this.#left) return;
    this.#left = true;
    this.#letGo();
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
    // Of several commits of this cluster time, those up to the commit that the position names are covered.
    for (let index = 0; index < end; index++) {
      const entry = entries[index];
      if (entry?.commit.clusterTime !== clusterTime || entry.position.within !== within) continue;
      this.#skipping = false;
      return index + 1;
    }
    return end;
  }
}
