import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { CheckpointWriter } from "./checkpoint-writer.ts";
import { formatClusterTime } from "./cluster-time.ts";
import type { CommitSink } from "./commit-sink.ts";
import type { CommitBatch } from "./read-commits.ts";
import type { StreamPosition } from "./stream-position.ts";

/** A resume token is valid in one epoch, and under the pipeline that gave it. */
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

/** Hands batches of the stream to the sink, and moves the position on. */
export class CommitIntake {
  readonly #parts: CommitIntakeParts;

  constructor(parts: CommitIntakeParts) {
    this.#parts = parts;
  }

  /**
   * Settles when the batch has been accepted. Order matters: the position and the checkpoint move on only afterwards. A
   * checkpoint that ran ahead would skip, after a crash, the commits that nobody has accepted.
   */
  async take(batch: CommitBatch, scope: TokenScope): Promise<void> {
    const { sink, position, checkpoints, log, metrics } = this.#parts;
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
