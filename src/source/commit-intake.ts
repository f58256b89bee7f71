/**
 * The one place where the stream's position advances. A checkpoint that ran ahead of the feed would lose commits after
 * a crash without any error, so accepting, advancing and saving are in one function, in this order.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { CheckpointWriter } from "./checkpoint-writer.ts";
import { formatClusterTime } from "./cluster-time.ts";
import type { CommitSink } from "./commit-sink.ts";
import type { CommitBatch } from "./read-commits.ts";
import type { StreamPosition } from "./stream-position.ts";

/** The scope in which a resume token is valid: one epoch, and the pipeline that produced it. */
export interface TokenScope {
  readonly epoch: string;
  readonly fingerprint: string;
}

/** The parts that `CommitIntake` works with. */
export interface CommitIntakeParts {
  readonly sink: Pick<CommitSink, "accept">;
  readonly position: StreamPosition;
  readonly checkpoints: Pick<CheckpointWriter, "note">;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Passes batches of the stream to the sink, and advances the position. */
export class CommitIntake {
  readonly #parts: CommitIntakeParts;

  constructor(parts: CommitIntakeParts) {
    this.#parts = parts;
  }

  /**
   * Settles when the sink has accepted the batch. The position and the checkpoint advance only after that: a checkpoint
   * that ran ahead would, after a crash, skip commits that the feed never accepted.
   */
  async take(batch: CommitBatch, scope: TokenScope): Promise<void> {
    const { sink, position, checkpoints, log, metrics } = this.#parts;
    // The same batch object where nothing was dropped, which is the usual case and needs no copy.
    const commits = position.unknown(batch.commits);
    await sink.accept(commits === batch.commits ? batch : { ...batch, commits });
    for (const { events } of commits)
      for (const { operation } of events) metrics.changeEventsBy[operation].inc();
    const { through } = position;
    if (!position.advance(batch)) {
      log.warn(
        { through: formatClusterTime(through), got: formatClusterTime(batch.through) },
        "the change stream repeated earlier commits; dropping those that were already accepted",
      );
    }
    if (batch.resumeToken === undefined) return;
    checkpoints.note({ token: batch.resumeToken, clusterTime: position.through, ...scope });
  }
}
