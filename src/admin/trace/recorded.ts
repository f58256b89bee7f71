/** Entries of a trace while they are recorded, and their form for readers, which depends on the roles of the reader. */
import type { Judged } from "./judge-event.ts";
import type { TracedChange, TracedDecision, TracedEntry, TracedRights, TracedSend } from "./traced.ts";

/** A delivery that is expected or has happened. */
export interface RecordedSend extends Omit<TracedSend, "afterMs" | "state" | "messages" | "bytes"> {
  readonly change: RecordedChange;
  readonly decision: RecordedDecision;
  state: string;
  messages: readonly string[];
  bytes: number;
  /** `null` until it was sent. */
  atMs: number | null;
}

/** The decision of a live query. */
export interface RecordedDecision {
  readonly liveQuery: string;
  readonly number: number;
  readonly rules: readonly string[];
  readonly judged: Judged;
  matchedAtMs: number | null;
  readonly sends: RecordedSend[];
  otherSends: number;
}

/** The commit of recorded events. */
export interface RecordedCommit {
  readonly seq: number;
  readonly cursor: string;
  /** Those that are still kept. */
  readonly changes: Set<RecordedChange>;
}

/** A change event. */
export interface RecordedChange
  extends Omit<TracedChange, "decisions" | "otherLiveQueries" | "documentId" | "before" | "after"> {
  readonly commit: RecordedCommit;
  /** Contents, if the trace keeps any. */
  readonly contents: Pick<TracedChange, "documentId" | "before" | "after"> | null;
  readonly decisions: RecordedDecision[];
  otherLiveQueries: number;
}

/** A decision about rights, with the reasons as readers without the role `documents` see them. */
export interface RecordedRights extends TracedRights {
  /** The same with values, if the trace keeps them. */
  readonly withValues: TracedRights["rules"] | null;
}

/** An entry of a trace. */
export type Recorded = RecordedChange | RecordedRights;

const NO_CONTENTS = { documentId: null, before: null, after: null };

/** The form for a reader. */
export function tracedOf(entry: Recorded, mayReadDocuments: boolean): TracedEntry {
  if (entry.kind === "rights") {
    const { withValues, ...rights } = entry;
    return mayReadDocuments && withValues !== null ? { ...rights, rules: withValues } : rights;
  }
  const { contents, decisions, commit: _, ...rest } = entry;
  const showsValues = mayReadDocuments && contents !== null;
  return {
    ...rest,
    ...(showsValues ? contents : NO_CONTENTS),
    decisions: decisions.map((decision) => decisionOf(decision, entry.atMs, showsValues)),
  };
}

function decisionOf(
  { judged, matchedAtMs, sends, number: _, ...rest }: RecordedDecision,
  readAtMs: number,
  showsValues: boolean,
): TracedDecision {
  return {
    ...rest,
    effect: judged.effect,
    because: showsValues ? judged.because : judged.redacted,
    matchedAfterMs: matchedAtMs === null ? null : rounded(matchedAtMs - readAtMs),
    sends: sends.map(({ change: _c, decision: _d, atMs, ...send }) => ({
      ...send,
      afterMs: atMs === null ? null : rounded(atMs - (matchedAtMs ?? readAtMs)),
    })),
  };
}

/** To the hundredth of a millisecond, and never negative. */
export const rounded = (ms: number): number => Math.max(0, Math.round(100 * ms) / 100);
