/** The past of kept results, as the live queries see it. They do not know who reads it, and under which limits. */
import type { Payer, Turn } from "./turn.ts";

/** A kept result as it was at a cluster time. */
export interface Past {
  /** The answer to the query of the snapshot. */
  readonly documents: readonly Uint8Array[];
  /** Ends the charge for the documents. To be called when they are no longer needed. */
  release(): void;
}

/** Reads the past at a cluster time; `null` if it is no longer available. */
export type ReadPast = (clusterTime: bigint) => Promise<Past | null>;

/** How one client asks for the past of a result. Clients that ask at the same time share one read. */
export interface PastRequest {
  readonly payer: Payer;
  /** Whether the client still wants it. */
  readonly isWanted: () => boolean;
  /** Reads it for all; `null` if it is no longer available, or no longer wanted. */
  readonly read: (turn: Turn, clusterTime: bigint) => Promise<Past | null>;
}
