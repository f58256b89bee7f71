import type { HistoryEntry } from "./history.ts";
import type { LiveQuery } from "./live-query.ts";

/** Observes the way of commits while an admin follows one of them. No method throws. */
export interface CommitTrace {
  /** The feed has received a batch of commits. */
  received(): void;
  /** A commit has changed the rights that depend on it, and is about to be offered to live queries. */
  arrived(entry: HistoryEntry): void;
  /** A commit has changed the result of a live query. */
  matched(liveQuery: LiveQuery, entry: HistoryEntry): void;
}

/** Holds the observer; `null` while nobody traces, so that each stop on the way costs one comparison. */
export interface CommitTraceSlot {
  observer: CommitTrace | null;
}
