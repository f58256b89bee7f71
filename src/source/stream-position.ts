/**
 * Tracks the position of the change stream. Opening by cluster time repeats commits of that time, so the position also
 * remembers which of them were accepted.
 */
import type { Commit } from "./change-event.ts";
import type { StreamStart } from "./change-stream.ts";
import type { CommitBatch } from "./read-commits.ts";

/** How far the change stream was accepted, and where to open it next. */
export class StreamPosition {
  #next: StreamStart = { now: true };
  /** Every commit before this cluster time was accepted, and of the time itself the commits in `#atThrough`. */
  #through = 0n;
  /** Identities of the commits at `#through`. Several transactions of a sharded cluster may share one cluster time. */
  #atThrough = new Set<string>();
  /** Whether commits up to `#through` may arrive again, because the stream was opened by time. */
  #dropsKnown = false;
  /** Whether all commits of `#through` were accepted that the stream has contained so far. */
  #isWhole = false;
  /** Whether commits of `#through` do not count, because they may be of a collection that was left out until then. */
  #dropsThrough = false;

  /** Where to open the stream. */
  get next(): StreamStart {
    return this.#next;
  }

  get through(): bigint {
    return this.#through;
  }

  /** Starts over at `from`, in a new order of commits. */
  begin(from: bigint): void {
    this.#next = { atTime: from };
    this.#through = from;
    this.#atThrough.clear();
    this.#dropsKnown = false;
    this.#isWhole = false;
    this.#dropsThrough = false;
  }

  /**
   * From here on the stream contains collections that it has left out before. Their commits count only from after the
   * position on: a snapshot of the position contains the others already.
   */
  widen(): void {
    this.#dropsThrough = this.#isWhole;
  }

  /**
   * Switches to another pipeline. A token cannot be used by a pipeline that filters its event out. A cluster time can.
   */
  openByTime(): void {
    this.#next = { atTime: this.#through };
    this.#dropsKnown = true;
  }

  /** The commits that were not accepted before; the same list if none can be known. */
  unknown(commits: readonly Commit[]): readonly Commit[] {
    if (this.#dropsThrough) return commits.filter(({ clusterTime }) => clusterTime > this.#through);
    if (!this.#dropsKnown) return commits;
    return commits.filter(
      ({ clusterTime, identity }) =>
        clusterTime > this.#through || (clusterTime === this.#through && !this.#atThrough.has(identity)),
    );
  }

  /**
   * The whole batch was accepted.
   * @returns `false` if the batch is before what was accepted already.
   */
  advance({ commits, through, resumeToken, invalidated }: CommitBatch): boolean {
    const wentBack = through !== 0n && through < this.#through && !this.#dropsKnown;
    if (through >= this.#through) this.#isWhole = true;
    if (through > this.#through) {
      this.#through = through;
      this.#dropsThrough = false;
      this.#atThrough.clear();
      this.#dropsKnown = false;
    } else if (wentBack) this.#dropsKnown = true;
    for (const commit of commits) {
      if (commit.clusterTime === this.#through) this.#atThrough.add(commit.identity);
    }
    if (invalidated !== undefined) this.#next = { startAfter: invalidated };
    else if (resumeToken !== undefined) this.#next = { resumeAfter: resumeToken };
    return !wentBack;
  }
}
