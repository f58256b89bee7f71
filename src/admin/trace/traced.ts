/** The data of traces, as processes send it to the admin listener. */

/** The subject of a trace: a user, a live query by its id, or a document. */
export type TraceSubject =
  | { readonly kind: "sub"; readonly sub: string }
  | { readonly kind: "live-query"; readonly liveQuery: string }
  | {
      readonly kind: "document";
      /** The name that clients use. */
      readonly collection: string;
      /** As Extended JSON. */
      readonly documentId: unknown;
    };

/** A trace to begin. */
export interface TraceToStart {
  readonly id: string;
  readonly subject: TraceSubject;
  readonly endsAtMs: number;
  /** Whether contents of documents are kept, for readers who may see them. */
  readonly keepsDocuments: boolean;
  /** Whether a process begins later than the others, because it replaces one that has ended. */
  readonly isTakenUp: boolean;
}

/** The beginning of a trace in one process. `not-here`: another process may have its subject. */
export type TraceStart = "started" | "not-here" | "too-many" | "no-collection" | "bad-id";

/** Reads the entries of a trace that are new or have changed. */
export interface TraceRead {
  readonly id: string;
  /** The `next` of the answer before; `null` for the beginning. */
  readonly after: string | null;
  readonly mayReadDocuments: boolean;
}

/** Why a trace has ended. `gone`: its live query exists no more. */
export type TraceEnd = "time" | "stopped" | "gone" | "fault";

/** Delivery of one commit to one connection. */
export interface TracedSend {
  readonly connection: string;
  readonly sub: string | null;
  /** The ids by which the client asked for the live query. */
  readonly subscriptions: readonly string[];
  /** `sent`, or the phase in which the delivery was when the event came. */
  readonly state: string;
  /** The types of the messages, each once. */
  readonly messages: readonly string[];
  /** Size of what was written together, in bytes. */
  readonly bytes: number;
  /** Since the match, or since the event was read, in milliseconds; `null` until it was sent. */
  readonly afterMs: number | null;
}

/** The effect on the unlimited result of a live query. `unknown`: the event does not show it. */
export type TracedEffect = "added" | "changed" | "removed" | "none" | "unknown";

/** The decision of one live query about an event. */
export interface TracedDecision {
  readonly liveQuery: string;
  /** The rules that its followed subscribers have it by. */
  readonly rules: readonly string[];
  readonly effect: TracedEffect;
  /** The clause that decides, in words. */
  readonly because: string;
  /** From the read to the match, in milliseconds; `null` if its result did not change, or only later. */
  readonly matchedAfterMs: number | null;
  readonly sends: readonly TracedSend[];
  /** Further subscribers, which are not listed. */
  readonly otherSends: number;
}

interface Entry {
  /** Unique in the trace, and the same when the entry is sent again. Entries are in the order of `atMs`. */
  readonly key: string;
  readonly node: string;
  readonly atMs: number;
}

/** A change event that concerns the subject. */
export interface TracedChange extends Entry {
  readonly kind: "change";
  readonly clusterTime: string;
  readonly namespace: string;
  readonly operation: string;
  /** As Extended JSON text; `null` without the right to see it. */
  readonly documentId: string | null;
  readonly before: string | null;
  readonly after: string | null;
  /** From the server's date of the write to the read, in milliseconds; `null` if the server gives none. */
  readonly readAfterMs: number | null;
  readonly decisions: readonly TracedDecision[];
  /** Further live queries of the collection, which are not listed. */
  readonly otherLiveQueries: number;
}

/** A decision about the rights of a followed subscription. */
export interface TracedRights extends Entry {
  readonly kind: "rights";
  readonly connection: string;
  readonly sub: string | null;
  readonly subscription: string;
  readonly collection: string;
  /** `follows` at the beginning of the trace, or how the subscription started, was refused, or ended. */
  readonly outcome: string;
  /** The rule that applies; `null` if none does. */
  readonly rule: string | null;
  readonly liveQuery: string | null;
  /** Every rule of the collection, in its order. */
  readonly rules: readonly { readonly name: string; readonly applies: boolean; readonly because: string }[];
}

export type TracedEntry = TracedChange | TracedRights;

/** The state of a trace in one process, with entries that are new or have changed. */
export interface TraceState {
  readonly subject: TraceSubject;
  readonly endsAtMs: number;
  /** `null` while it runs. */
  readonly ended: TraceEnd | null;
  readonly keepsDocuments: boolean;
  readonly isTakenUp: boolean;
  readonly entries: readonly TracedEntry[];
  /** Whether there are more entries already. */
  readonly hasMore: boolean;
  /** For `after` of the next read of this process. */
  readonly next: { readonly process: string; readonly version: number };
  /** Entries that newer ones have replaced. */
  readonly dropped: number;
  /** Events that were not examined, because the trace would have delayed clients. */
  readonly skipped: number;
}
