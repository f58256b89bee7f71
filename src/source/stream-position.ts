import type { Commit } from "./change-event.ts";
import type { StreamStart } from "./change-stream.ts";
import type { CommitBatch } from "./read-commits.ts";

/** How far the change stream has been accepted, and where to open it next. */
export class StreamPosition {
  #next: StreamStart = { now: true };
  /** Everything before this cluster time was accepted, and of the time itself the commits in `#atThrough`. */
  #through = 0n;
  #atThrough = new Set<string>();
  /** Commits up to `#through` may arrive again after the stream was opened by time. */
  #dropsKnown = false;

  /** Where the stream is to be opened. */
  get next(): StreamStart {
    return this.#next;
  }

  get through(): bigint {
    return this.#through;
  }

  begin(from: bigint): void {
    this.#next = { atTime: from };
    this.#through = from;
    this.#atThrough.clear();
    this.#dropsKnown = false;
  }

  /** For another pipeline: a token is not portable to one that leaves its event out; a cluster time is. */
  openByTime(): void {
    this.#next = { atTime: this.#through };
    this.#dropsKnown = true;
  }

  /** The commits that have not been accepted before; the same list where there can be no others. */
  unknown(commits: readonly Commit[]): readonly Commit[] {
    if (!this.#dropsKnown) return commits;
    return commits.filter(
      ({ clusterTime, identity }) =>
        clusterTime > this.#through || (clusterTime === this.#through && !this.#atThrough.has(identity)),
    );
  }

  /**
   * Everything in the batch was accepted.
   * @returns `false` where the batch lies before what was accepted already.
   */
  advance({ commits, through, resumeToken, invalidated }: CommitBatch): boolean {
    const wentBack = through !== 0n && through < this.#through && !this.#dropsKnown;
    if (through > this.#through) {
      this.#through = through;
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
