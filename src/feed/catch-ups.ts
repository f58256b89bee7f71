/**
 * Opens the reads of resumptions and reports them. A resumption reads from memory if the history reaches back far
 * enough, and otherwise from the server's oplog, which costs a change stream.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { SparseLog } from "../metrics/sparse-log.ts";
import { StreamStalledError } from "../source/stream-errors.ts";
import type { Position } from "./cursor.ts";
import { toClientError } from "./mongo-unavailable.ts";
import type { OplogRead } from "./oplog-read.ts";
import type { OplogReads } from "./oplog-reads.ts";
import type { Timeline } from "./timeline.ts";

/** The parts that `CatchUps` works with. */
export interface CatchUpsParts {
  readonly timeline: Timeline;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Opens, counts and logs the reads of resumptions. */
export class CatchUps {
  readonly #reads: OplogReads;
  readonly #parts: CatchUpsParts;
  readonly #sparse = new SparseLog();

  constructor(reads: OplogReads, parts: CatchUpsParts) {
    this.#reads = reads;
    this.#parts = parts;
  }

  /** Counts a resumption that reads its missed changes from the history. */
  noteFromHistory(): void {
    this.#parts.metrics.catchUps.inc({ from: "history" });
  }

  /**
   * Opens a read of the commits after `position` from the oplog.
   * @param isWanted Whether the client is still there.
   * @returns `null` if the oplog does not reach back that far, if the server takes too long to find the position, or if the
   *   read is no longer wanted.
   * @throws {TidewireError} `unavailable`
   */
  async openOplog(position: Position, isWanted: () => boolean): Promise<OplogRead | null> {
    const { timeline, metrics } = this.#parts;
    try {
      const read = await this.#reads.request(position, timeline.codec, isWanted);
      if (read !== null) metrics.catchUps.inc({ from: "oplog" });
      return read;
    } catch (error) {
      if (!(error instanceof StreamStalledError)) throw toClientError(error);
      // The server has too much to search, and a second attempt would have no less.
      this.noteFailed(error);
      return null;
    }
  }

  /** Logs that the missed changes could not be read, so that the result is read again instead. */
  noteFailed(error: unknown): void {
    this.#sparse.write(performance.now(), (more) =>
      this.#parts.log.warn(
        { err: error, ...more },
        "the missed changes could not be read; the result is read again",
      ),
    );
  }
}
