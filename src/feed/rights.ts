/**
 * Since when a user may see a result. Rights may be younger than the data, because a rule, a token or a membership is
 * new. Neither a snapshot that was read for another user nor a resumption may show such a user anything from before.
 */
import { StepPace, type Steps } from "../match/steps.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { Position } from "./cursor.ts";
import type { History, HistoryEntry } from "./history.ts";
import type { LookupSet } from "./lookup-set.ts";
import { isLong } from "./pieces.ts";

/** Has the lookups on which rights depend. */
interface LookupSets {
  readonly sets: readonly LookupSet[];
}

/** The time since which a user may see the result of a live query, and the lookups on which that depends. */
export class Rights {
  readonly #grantedAt: bigint;
  #heldSince: bigint;
  #holder: LookupSets;

  /**
   * @param grantedAt The cluster time since which the rules grant the rights. If a change of rights has led here, the
   *   cluster time of that change.
   * @param sets The lookups on which the rights depend.
   * @param heldSince The cluster time since which the user's token grants them. No snapshot is older. A resumption may
   *   begin earlier, if its ticket allows it.
   */
  constructor(grantedAt: bigint, sets: readonly LookupSet[], heldSince = 0n) {
    this.#grantedAt = grantedAt;
    this.#heldSince = heldSince;
    this.#holder = { sets };
  }

  /** The lookups on which the rights depend now. */
  get sets(): readonly LookupSet[] {
    return this.#holder.sets;
  }

  /**
   * Subscriptions that join and leave, edits of the rules and steps of `%%now` change the lookups while a result is followed. From
   * now on each question is answered by the lookups of that moment.
   */
  followSets(holder: LookupSets): void {
    this.#holder = holder;
  }

  /**
   * Nothing from before this cluster time may be shown: not by a snapshot that was read earlier for other users,
   * together with the changes since, and not to a client that resumes.
   */
  get since(): bigint {
    return this.sets.reduce(
      (latest, { sameSince }) => (sameSince > latest ? sameSince : latest),
      this.#grantedAt > this.#heldSince ? this.#grantedAt : this.#heldSince,
    );
  }

  /** The user may not have had the rights before this cluster time. */
  beginAt(clusterTime: bigint): void {
    if (clusterTime > this.#heldSince) this.#heldSince = clusterTime;
  }

  /**
   * Since when the rules have granted the rights without interruption. The rights that follow from lookups may be
   * younger.
   */
  get grantedAt(): bigint {
    return this.#grantedAt;
  }

  /** Whether a write to a lookup's collection can change the rights. */
  get isConditional(): boolean {
    return this.sets.length > 0;
  }

  /**
   * Checks whether the lookups have granted the same rights since a position. If the history does not reach back to the
   * position, the check covers only what the history holds.
   * @param seq The entry of the position, or the first one that the history holds.
   */
  traceBack(position: Position, seq: number, history: History): boolean {
    return this.sets.every((set) =>
      set.traceBack(position.clusterTime, () =>
        history.holds(set.namespace, position) ? history.entriesAfter(seq) : null,
      ),
    );
  }

  /** Judges long commits in steps and remembers the outcome, so that `mayChangeBy` takes little time. */
  *prepareInSteps(entries: Iterable<Pick<HistoryEntry, "commit">>): Steps<void> {
    const pace = new StepPace();
    for (const { commit } of entries) {
      if (pace.isOver(0)) yield;
      if (!isLong(commit.events)) continue;
      for (const set of this.sets) yield* set.judgeInSteps(commit.events);
    }
  }

  /** Does most of the work of `traceBack` with the same arguments, in steps. */
  *prepareTrace(position: Position, seq: number, history: History): Steps<void> {
    for (const set of this.sets) {
      if (!set.mustTrace(position.clusterTime) || !history.holds(set.namespace, position)) continue;
      const entries = history.entriesAfter(seq);
      if (entries !== null) yield* set.traceInSteps(position.clusterTime, entries);
    }
  }

  /** Whether a commit may have changed the rights. */
  mayChangeBy(events: readonly StreamEvent[]): boolean {
    return this.sets.some((set) => set.mayChangeBy(events));
  }
}

/** Rights that depend on claims alone. */
export const UNCONDITIONAL = new Rights(0n, []);
