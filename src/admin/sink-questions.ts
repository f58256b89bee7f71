/** The questions about sinks. Their state is in the state database, so that any process can answer. */

/** One sink of the configuration, as its holder has saved its state. */
export interface SinkRow {
  readonly name: string;
  readonly collection: string;
  /** The kind of its target, such as `webhook`. */
  readonly target: string;
  readonly state: "starting" | "running" | "trouble" | "paused" | "disabled";
  /** The node that runs it, or ran it last; `null` before the first start. */
  readonly node: string | null;
  /** Why nothing is sent at the moment; `null` if nothing is wrong. */
  readonly trouble: string | null;
  readonly delivered: number;
  readonly failed: number;
  readonly spooledMessages: number;
  readonly spooledBytes: number;
  readonly parked: number;
  readonly resets: number;
  readonly lastReset: { readonly atMs: number; readonly reason: string } | null;
  /** When the oldest message arrived that was not delivered; `null` if all were. */
  readonly oldestAtMs: number | null;
}

/** One parked message. */
export interface ParkedRow {
  readonly id: string;
  readonly reason: string;
  readonly attempts: number;
  readonly atMs: number;
  readonly parkedAtMs: number;
  /** The CloudEvent; `null` for an admin who may not read documents. */
  readonly event: unknown;
}

/** Every question about sinks, with its argument and its answer. */
export interface SinkQuestions {
  sinks: { with: undefined; gives: readonly SinkRow[] };
  /** `null` if the configuration has no such sink; `starting` if it has never begun. */
  controlSink: {
    with: { readonly name: string; readonly act: "pause" | "resume" };
    gives: "done" | "starting" | null;
  };
  /** `null` if the configuration has no such sink. */
  parkedMessages: {
    with: {
      readonly name: string;
      readonly limit: number;
      readonly after?: string | undefined;
      readonly mayReadDocuments: boolean;
    };
    gives: readonly ParkedRow[] | null;
  };
  /** How many messages there are to send again. */
  replayParked: {
    with: { readonly name: string; readonly ids: readonly string[] | null };
    gives: number | null;
  };
}
