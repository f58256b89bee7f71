import { StepPace, type Steps } from "../match/steps.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { Position } from "./cursor.ts";
import type { History, HistoryEntry } from "./history.ts";
import type { LookupSet } from "./lookup-set.ts";
import { isLong } from "./pieces.ts";

/** The time since which a user may see the result of a live query, and the lookups on which that depends. */
export class Rights {
  readonly #grantedAt: bigint;
  #heldSince: bigint;
  readonly sets: readonly LookupSet[];

  /**
   * @param grantedAt Cluster time since which the rules give them; of a change of rights that led here, its own.
   * @param sets The lookups that the rights follow from.
   * @param heldSince Cluster time since which the user's token gives them. No snapshot is older; a resumption may begin
   *   earlier, as its ticket says.
   */
  constructor(grantedAt: bigint, sets: readonly LookupSet[], heldSince = 0n) {
    this.#grantedAt = grantedAt;
    this.#heldSince = heldSince;
    this.sets = sets;
  }

  /**
   * Nothing from before this cluster time may be shown: neither by a snapshot that was read for others earlier
   * and the changes since, nor to a client that resumes.
   */
  get since(): bigint {
    return this.sets.reduce(
      (latest, { sameSince }) => (sameSince > latest ? sameSince : latest),
      this.#grantedAt > this.#heldSince ? this.#grantedAt : this.#heldSince,
    );
  }

  /** The user may have lacked them before this cluster time. */
  beginAt(clusterTime: bigint): void {
    if (clusterTime > this.#heldSince) this.#heldSince = clusterTime;
  }

  /** Since when the rules have given them without a break; what the sets give may be younger. */
  get grantedAt(): bigint {
    return this.#grantedAt;
  }

  /** Whether writes can change them. */
  get isConditional(): boolean {
    return this.sets.length > 0;
  }

  /**
   * Finds out whether the lookups have given the same rights since a position. Where the history does not reach back to the
   * position, only as far as the history reaches.
   * @param seq The position's entry, or the first one that the history still holds.
   */
  traceBack({ clusterTime }: Position, seq: number, history: History): boolean {
    return this.sets.every((set) =>
      set.traceBack(clusterTime, () =>
        history.holds(set.namespace, seq) ? history.entriesAfter(seq) : null,
      ),
    );
  }

  /** Judges long commits in steps, so that `mayChangeBy` takes little more. */
  *prepareInSteps(entries: Iterable<Pick<HistoryEntry, "commit">>): Steps<void> {
    const pace = new StepPace();
    for (const { commit } of entries) {
      if (pace.isOver(0)) yield;
      if (!isLong(commit.events)) continue;
      for (const set of this.sets) yield* set.judgeInSteps(commit.events);
    }
  }

  /** Does the most of `traceBack` with the same arguments, in steps. */
  *prepareTrace({ clusterTime }: Position, seq: number, history: History): Steps<void> {
    for (const set of this.sets) {
      if (!set.mustTrace(clusterTime) || !history.holds(set.namespace, seq)) continue;
      const entries = history.entriesAfter(seq);
      if (entries !== null) yield* set.traceInSteps(clusterTime, entries);
    }
  }

  /** Whether a commit may have changed the rights. */
  mayChangeBy(events: readonly StreamEvent[]): boolean {
    return this.sets.some((set) => set.mayChangeBy(events));
  }
}

/** Rights that follow from claims alone. */
export const UNCONDITIONAL = new Rights(0n, []);
