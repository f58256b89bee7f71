import type { Logger } from "pino";
import type { GuardParts } from "../metrics/guard.ts";
import type { StartReason } from "../protocol/messages.ts";
import type { SinkOptions } from "./options.ts";
import type { SentRows } from "./sent-rows.ts";
import type { SinkTurn } from "./sink-documents.ts";
import type { SinkLedger } from "./sink-ledger.ts";
import type { SinkStore } from "./sink-store.ts";
import type { Target } from "./target.ts";

/** Why changes are missing at the target. */
export type ResetReason = StartReason | "spool-bytes" | "spool-age" | "snapshot-interrupted";

/** Why a run has ended. */
export type RunEnd =
  | { readonly kind: "superseded" }
  | { readonly kind: "gone"; readonly reason: string }
  /** The messages that wait must not be sent any more. */
  | { readonly kind: "reset"; readonly reason: ResetReason }
  | { readonly kind: "failed"; readonly error: unknown };

/** The parts that a run works with. */
export interface SinkRunParts extends GuardParts {
  readonly name: string;
  readonly options: SinkOptions;
  readonly turn: SinkTurn;
  readonly store: SinkStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly target: Target;
  readonly ledger: SinkLedger;
  /** The rows that the receiver may have; `null` unless the sink sends rows of an aggregate. */
  readonly rows: SentRows | null;
  /** Keys that may wait for a retry: `LANES_MAX`, unless a test needs fewer. */
  readonly lanesMax?: number;
  /** Whether this process still holds the lease. A process that was frozen learns it only by asking. */
  readonly isHeld: () => boolean;
  readonly log: Logger;
  /** Called once, when nothing more can be done. */
  readonly onEnd: (end: RunEnd) => void;
}
