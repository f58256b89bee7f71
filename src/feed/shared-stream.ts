/**
 * One change stream for several resuming clients. Each client reads at its own pace, and batches are kept only as far
 * as memory allows, so that one slow client cannot hold the missed changes of all in memory.
 */
import type { CommitBatch } from "../source/read-commits.ts";
import { BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import { HistoryEntry } from "./history.ts";

/** Consecutive commits read from the oplog. */
export interface OplogBatch {
  readonly entries: readonly HistoryEntry[];
  /** Every commit up to here has been delivered. */
  readonly until: Position;
}

/** Opens a change stream, which ends when `signal` aborts. */
export type OpenStream = (from: bigint, signal: AbortSignal) => AsyncGenerator<CommitBatch, void, void>;

/** Limit of the change events that a stream keeps for readers that are slower than the fastest one, in bytes. */
const KEPT_BYTES_MAX = 16 * 1_048_576;

/**
 * One change stream from a cluster time on, read once for all who share it, at the pace of the fastest reader. For a
 * reader that falls too far behind, the batch that it needs has been dropped.
 */
export class SharedStream {
  readonly #batches: AsyncGenerator<CommitBatch, void, void>;
  readonly #abort = new AbortController();
  readonly #codec: CursorCodec;
  readonly #onEnd: () => void;
  #kept: { readonly batch: OplogBatch; readonly bytes: number }[] = [];
  #keptBytes = 0;
  #dropped = 0;
  #readers = 0;
  #gaveWay = false;
  readonly #onGiveWay: (() => void)[] = [];
  /** The stream has reached its end. */
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #reading: Promise<void> | undefined;
  #last: HistoryEntry | undefined;

  /** @param onEnd Called once, after the last reader has left. */
  constructor(from: bigint, open: OpenStream, codec: CursorCodec, onEnd: () => void) {
    this.#batches = open(from, this.#abort.signal);
    this.#codec = codec;
    this.#onEnd = onEnd;
  }

  join(): void {
    this.#readers++;
  }

  /** The last reader to leave ends the stream. */
  leave(): void {
    this.#readers--;
    if (this.#readers > 0) return;
    this.abandon();
    this.#onEnd();
  }

  /** Asks all readers to leave, because others wait for a stream. */
  giveWay(): void {
    if (this.#gaveWay) return;
    this.#gaveWay = true;
    for (const leave of this.#onGiveWay) leave();
  }

  /** Calls `leave` when its reader should leave; at once if that is the case already. */
  whenGivingWay(leave: () => void): void {
    if (this.#gaveWay) leave();
    else this.#onGiveWay.push(leave);
  }

  /** Ends a stream that nobody has joined. */
  abandon(): void {
    this.#abort.abort();
  }

  /** Batch number `index`; `null` at the end of the stream; `overtaken` if the batch was dropped already. */
  async batch(index: number): Promise<OplogBatch | null | "overtaken"> {
    for (;;) {
      if (index < this.#dropped) return "overtaken";
      const kept = this.#kept[index - this.#dropped];
      if (kept !== undefined) return kept.batch;
      if (this.#ended) return null;
      // Also for a reader that arrives later: a generator that has thrown would only report its end.
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
  }

  async #read(): Promise<void> {
    const next = await this.#batches.next().catch((error: unknown) => {
      this.#failure = { error };
      throw error;
    });
    if (next.done === true) {
      this.#ended = true;
      return;
    }
    let bytes = 0;
    const entries = next.value.commits.map((commit) => {
      bytes += commit.bytes;
      this.#last = new HistoryEntry(0, commit, this.#codec, this.#last);
      return this.#last;
    });
    this.#kept.push({ batch: { entries, until: this.#until(next.value.through) }, bytes });
    this.#keptBytes += bytes;
    while (this.#keptBytes > KEPT_BYTES_MAX && this.#kept.length > 1) {
      this.#keptBytes -= this.#kept.shift()?.bytes ?? 0;
      this.#dropped++;
    }
  }

  #until(through: bigint): Position {
    const last = this.#last;
    if (last !== undefined && last.commit.clusterTime >= through) return last.position;
    return { clusterTime: through, within: BEFORE };
  }
}
