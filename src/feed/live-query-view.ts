import type { LiveQuerySpec } from "./live-query-spec.ts";

/** A live query as an admin sees it. */
export interface LiveQueryView {
  /** Unique on this node, and never used again. */
  readonly number: number;
  readonly namespace: string;
  readonly spec: LiveQuerySpec;
  /** Connections that follow it. Without any it lingers for a moment. */
  readonly subscribers: number;
  /** Mean time for one commit that concerns it, in milliseconds; 0 if it was always cheap. */
  readonly costMs: number;
  /** Memory of its result; 0 for an unsorted result, of which nothing is kept. */
  readonly heldBytes: number;
  /** Documents or groups that its result tracks in memory. */
  readonly trackedDocuments: number;
  /** Resets of its present subscribers. */
  readonly resets: number;
  /** Whether commits find it by a value of its filter. Otherwise it is matched with every commit of its collection. */
  readonly isIndexed: boolean;
}
