import type { Commit } from "../source/change-event.ts";
import type { CommitBatch } from "../source/read-commits.ts";
import { AFTER, BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import { HistoryEntry } from "./history.ts";

export interface OplogBatch {
  readonly entries: readonly HistoryEntry[];
  /** Everything up to here has been given. */
  readonly until: Position;
}

/**
 * The commits after a position that the history no longer holds, from a change stream of their own. Holds one
 * of the few places for such streams until `end`.
 */
export class OplogRead {
  readonly #batches: AsyncGenerator<CommitBatch, void, void>;
  readonly #codec: CursorCodec;
  readonly #onEnd: () => void;
  readonly #from: Position;
  #first: CommitBatch | undefined;
  /** Still at commits that the position already covers. */
  #skipping: boolean;
  #last: HistoryEntry | undefined;

  private constructor(
    from: Position,
    batches: AsyncGenerator<CommitBatch, void, void>,
    codec: CursorCodec,
    onEnd: () => void,
  ) {
    this.#from = from;
    this.#batches = batches;
    this.#codec = codec;
    this.#onEnd = onEnd;
    this.#skipping = from.within !== BEFORE;
  }

  /** Opens the stream and reads its first batch: only then does the server tell whether it reaches back. */
  static async open(
    from: Position,
    batches: AsyncGenerator<CommitBatch, void, void>,
    codec: CursorCodec,
    onEnd: () => void,
  ): Promise<OplogRead> {
    const read = new OplogRead(from, batches, codec, onEnd);
    const first = await batches.next();
    read.#first = first.done === true ? undefined : first.value;
    return read;
  }

  async *batches(): AsyncGenerator<OplogBatch, void, void> {
    if (this.#first !== undefined) yield this.#take(this.#first);
    this.#first = undefined;
    for await (const batch of this.#batches) yield this.#take(batch);
  }

  end(): void {
    this.#onEnd();
  }

  #take(batch: CommitBatch): OplogBatch {
    const entries: HistoryEntry[] = [];
    for (const commit of batch.commits) {
      const entry = new HistoryEntry(0, commit, this.#codec, this.#last);
      this.#last = entry;
      if (!this.#isCovered(commit, entry)) entries.push(entry);
    }
    const { through } = batch;
    const last = this.#last;
    const until =
      last !== undefined && last.commit.clusterTime >= through
        ? last.position
        : { clusterTime: through, within: BEFORE };
    return { entries, until };
  }

  #isCovered(commit: Commit, entry: HistoryEntry): boolean {
    const { clusterTime, within } = this.#from;
    if (commit.clusterTime > clusterTime) return false;
    if (within === AFTER) return true;
    const covered = this.#skipping;
    if (entry.position.within === within) this.#skipping = false;
    return covered;
  }
}
