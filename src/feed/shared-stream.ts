import type { CommitBatch } from "../source/read-commits.ts";
import { BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import { HistoryEntry } from "./history.ts";

/** Consecutive commits read from the oplog. */
export interface OplogBatch {
  readonly entries: readonly HistoryEntry[];
  /** Everything up to here has been given. */
  readonly until: Position;
}

/** Opens a change stream; it ends when `signal` aborts. */
export type OpenStream = (from: bigint, signal: AbortSignal) => AsyncGenerator<CommitBatch, void, void>;

/** The size of the change events that a stream keeps for readers slower than the fastest, in bytes. */
const KEPT_BYTES_MAX = 16 * 1_048_576;

/**
 * One change stream from a cluster time on, read once for all who share it, at the pace of the fastest reader. A reader
 * that falls too far behind finds the beginning gone.
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
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #reading: Promise<void> | undefined;
  #last: HistoryEntry | undefined;

  /** @param onEnd Called once, when the last reader has left. */
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

  /** Ends a stream that nobody has joined. */
  abandon(): void {
    this.#abort.abort();
  }

  /** Batch number `index`; `null` at the end of the stream, or where the batch is gone already. */
  async batch(index: number): Promise<OplogBatch | null> {
    for (;;) {
      if (index < this.#dropped) return null;
      const kept = this.#kept[index - this.#dropped];
      if (kept !== undefined) return kept.batch;
      if (this.#ended) return null;
      // Also for a reader that reaches it later: a generator that has thrown would only say that it has ended.
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
