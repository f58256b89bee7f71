import { idOf } from "../../feed/change.ts";
import type { Chunk } from "../../feed/chunk.ts";
import type { HistoryEntry } from "../../feed/history.ts";
import type { LiveQuery } from "../../feed/live-query.ts";
import type { TracedAttachment } from "../../gateway/client-trace.ts";
import { encodeDocument, encodeValue } from "../../match/encode.ts";
import { EVERYTHING } from "../../match/projection.ts";
import { valueKey } from "../../match/value-key.ts";
import { type ChangeEvent, isChangeEvent, type StreamEvent } from "../../source/change-event.ts";
import { formatClusterTime } from "../../source/cluster-time.ts";
import { Followed, type Watched } from "./followed.ts";
import { judgeEvent } from "./judge-event.ts";
import {
  type Recorded,
  type RecordedChange,
  type RecordedCommit,
  type RecordedDecision,
  type RecordedRights,
  type RecordedSend,
  rounded,
  tracedOf,
} from "./recorded.ts";
import { TraceLog } from "./trace-log.ts";
import type { TraceEnd, TraceState, TraceSubject, TraceToStart } from "./traced.ts";

/** How many events of one commit are recorded. */
const EVENTS_MAX = 20;
/** How many live queries are listed for one event. */
const DECISIONS_MAX = 10;
/** Characters of each document. */
const DOCUMENT_TEXT_MAX = 2_000;
/** Larger documents are not encoded for a trace. In bytes. */
const DOCUMENT_MAX = 65_536;
/** Entries of one answer. */
const PAGE_MAX = 100;

/** The subject in the form in which events are compared with it. */
export type Subject =
  | { readonly kind: "sub"; readonly sub: string }
  | { readonly kind: "live-query"; readonly liveQuery: LiveQuery }
  | { readonly kind: "document"; readonly namespace: string; readonly idKey: string };

/** The parts of a process that a trace uses. */
export interface TraceParts {
  /** The name of the node. */
  readonly node: string;
  /** The id of the process. */
  readonly process: string;
  readonly eventsMax: number;
  readonly liveQueriesOf: (namespace: string) => Iterable<LiveQuery>;
  /** MongoDB's clock minus that of this machine, in milliseconds. */
  readonly clockOffsetMs: () => number;
  readonly onDropped: () => void;
}

/** Follows one subject: records the events that concern it, the decisions about them, and what was sent. */
export class Trace {
  readonly asked: TraceToStart;
  readonly #subject: Subject;
  readonly #parts: TraceParts;
  readonly #log: TraceLog<Recorded>;
  readonly #followed: Followed;
  readonly #commits = new Map<string, RecordedCommit>();
  /** The set of each subscriber that an expected delivery is in. */
  readonly #pendingOf = new WeakMap<RecordedSend, Set<RecordedSend>>();
  #ended: TraceEnd | null = null;
  #skipped = 0;
  #nextKey = 1;

  constructor(asked: TraceToStart, subject: Subject, parts: TraceParts) {
    this.asked = asked;
    this.#subject = subject;
    this.#parts = parts;
    this.#followed = new Followed(subject.kind === "sub");
    this.#log = new TraceLog(parts.eventsMax, (entry) => this.#forget(entry));
  }

  get isRunning(): boolean {
    return this.#ended === null;
  }

  /** Whether the trace follows a live query that exists no more. */
  get isOrphan(): boolean {
    return this.#subject.kind === "live-query" && this.#subject.liveQuery.isRetired;
  }

  end(reason: TraceEnd): void {
    this.#ended ??= reason;
    this.#followed.clear();
    this.#commits.clear();
  }

  read(after: number, mayReadDocuments: boolean): TraceState {
    const { subject, endsAtMs, keepsDocuments, isTakenUp } = this.asked;
    const { entries, version, hasMore } = this.#log.since(after, PAGE_MAX);
    return {
      subject: mayReadDocuments && keepsDocuments ? subject : withoutId(subject),
      endsAtMs,
      ended: this.#ended,
      keepsDocuments,
      isTakenUp,
      entries: entries.map((entry) => tracedOf(entry, mayReadDocuments)),
      hasMore,
      next: { process: this.#parts.process, version },
      dropped: this.#log.dropped,
      skipped: this.#skipped,
    };
  }

  /** Whether an event concerns the subject. Cheap, because it is asked about every event. */
  concerns(event: StreamEvent): boolean {
    const subject = this.#subject;
    if (subject.kind === "live-query") return event.namespace === subject.liveQuery.namespace;
    if (subject.kind === "sub") {
      for (const { namespace } of this.#followed.liveQueries) if (namespace === event.namespace) return true;
      return false;
    }
    if (event.namespace !== subject.namespace) return false;
    return !isChangeEvent(event) || valueKey(idOf(event.documentKey)) === subject.idKey;
  }

  /** Notes events that are not examined. */
  skip(events: number): void {
    this.#skipped += events;
  }

  /**
   * Records the events of a commit that concern the subject.
   * @param readAtMs When the node received them.
   * @param isOverWork Asked before each decision, which may take milliseconds. After that, decisions are only counted.
   */
  record(
    entry: HistoryEntry,
    events: readonly StreamEvent[],
    readAtMs: number,
    isOverWork: () => boolean,
  ): void {
    const commit: RecordedCommit = { seq: entry.seq, cursor: entry.cursor, changes: new Set() };
    this.skip(Math.max(0, events.length - EVENTS_MAX));
    for (const event of events.slice(0, EVENTS_MAX)) {
      const change = this.#changeOf(event, entry, commit, readAtMs);
      for (const liveQuery of this.#concerned(event.namespace)) {
        if (change.decisions.length >= DECISIONS_MAX || isOverWork()) change.otherLiveQueries++;
        else change.decisions.push(this.#decisionOf(event, liveQuery));
      }
      commit.changes.add(change);
      this.#log.add(change);
    }
    this.#commits.set(commit.cursor, commit);
  }

  #changeOf(
    event: StreamEvent,
    { commit: { clusterTime, wallTimeMs } }: HistoryEntry,
    commit: RecordedCommit,
    readAtMs: number,
  ): RecordedChange {
    return {
      kind: "change",
      ...this.#stamp(readAtMs),
      clusterTime: formatClusterTime(clusterTime),
      namespace: event.namespace,
      operation: isChangeEvent(event) ? event.operation : event.by,
      readAfterMs: wallTimeMs === null ? null : rounded(readAtMs + this.#parts.clockOffsetMs() - wallTimeMs),
      contents: this.asked.keepsDocuments && isChangeEvent(event) ? contentsOf(event) : null,
      commit,
      decisions: [],
      otherLiveQueries: 0,
    };
  }

  #stamp(atMs: number) {
    const { node, process } = this.#parts;
    return { key: `${process}.${this.#nextKey++}`, node, atMs: rounded(atMs) };
  }

  /** The live queries whose decisions are recorded. Those with followed subscribers come first. */
  *#concerned(namespace: string): Iterable<LiveQuery> {
    const subject = this.#subject;
    if (subject.kind === "live-query") return yield subject.liveQuery;
    const followed = [...this.#followed.liveQueries].filter(
      (liveQuery) => liveQuery.namespace === namespace && !liveQuery.isRetired,
    );
    yield* followed;
    if (subject.kind === "sub") return;
    const known = new Set(followed);
    for (const liveQuery of this.#parts.liveQueriesOf(namespace)) if (!known.has(liveQuery)) yield liveQuery;
  }

  #decisionOf(event: StreamEvent, liveQuery: LiveQuery): RecordedDecision {
    const watched = [...this.#followed.of(liveQuery)];
    return {
      liveQuery: `${this.#parts.process}.${liveQuery.number}`,
      number: liveQuery.number,
      rules: [...new Set(watched.map(({ attachment }) => attachment.query.rule))],
      judged: judgeEvent(event, liveQuery.spec),
      matchedAtMs: null,
      sends: [],
      otherSends: 0,
    };
  }

  /** A commit has changed the result of a live query, so that its followers are about to receive it. */
  matched(liveQuery: LiveQuery, { cursor }: HistoryEntry, nowMs: number): void {
    for (const [change, decision] of this.#decisions(cursor, liveQuery.number)) {
      if (decision.judged.effect === "none") continue;
      decision.matchedAtMs = nowMs;
      const watched = this.#followed.of(liveQuery);
      for (const one of watched) this.#expect(one, change, decision);
      if (this.#subject.kind !== "sub")
        decision.otherSends = Math.max(0, liveQuery.broadcast.followers.size - watched.size);
      this.#log.touch(change);
    }
  }

  #expect(watched: Watched, change: RecordedChange, decision: RecordedDecision): RecordedSend {
    const { attachment, connection, sub, pending } = watched;
    const send: RecordedSend = {
      change,
      decision,
      connection,
      sub,
      subscriptions: [...attachment.ids].slice(0, 5),
      state: attachment.deciding === null ? attachment.delivery.phase : "deciding",
      messages: [],
      bytes: 0,
      atMs: null,
    };
    decision.sends.push(send);
    pending.add(send);
    this.#pendingOf.set(send, pending);
    return send;
  }

  /** A chunk was written to the outbox of a subscriber. */
  sent(attachment: object, chunk: Chunk, nowMs: number): void {
    const watched = this.#followed.by(attachment);
    if (watched === undefined) return;
    const types = new Set<string>();
    for (const { type, cursor, partial } of chunk.messages) {
      types.add(type);
      if (partial === true || cursor === undefined) continue;
      const commit = this.#commits.get(cursor);
      if (commit !== undefined) this.#noteSent(watched, commit, [...types], chunk.size, nowMs);
      types.clear();
    }
  }

  #noteSent(
    watched: Watched,
    commit: RecordedCommit,
    messages: readonly string[],
    bytes: number,
    nowMs: number,
  ): void {
    const { number } = watched.attachment.delivery.liveQuery;
    // Results that waited for the database have no earlier sign of the match.
    for (const [change, decision] of this.#decisions(commit.cursor, number))
      if (decision.judged.effect !== "none" && !decision.sends.some((send) => watched.pending.has(send)))
        this.#expect(watched, change, decision);
    for (const send of watched.pending) {
      const { seq } = send.change.commit;
      if (seq > commit.seq) break;
      watched.pending.delete(send);
      send.state = "sent";
      // A delivery is in order. Earlier changes of groups may have been merged with this one.
      send.messages = seq === commit.seq ? messages : ["merged"];
      send.bytes = bytes;
      send.atMs = nowMs;
      this.#log.touch(send.change);
    }
  }

  *#decisions(cursor: string, number: number): Iterable<readonly [RecordedChange, RecordedDecision]> {
    for (const change of this.#commits.get(cursor)?.changes ?? [])
      for (const decision of change.decisions) if (decision.number === number) yield [change, decision];
  }

  /** Whether subscriptions of this user, or to this live query or collection, belong to the subject. */
  isAbout(sub: string | null, attachment: TracedAttachment | null): boolean {
    const subject = this.#subject;
    if (subject.kind === "sub") return sub === subject.sub;
    if (attachment === null) return false;
    const { liveQuery } = attachment.delivery;
    return subject.kind === "live-query"
      ? liveQuery === subject.liveQuery
      : liveQuery.namespace === subject.namespace;
  }

  watch(attachment: TracedAttachment, who: Pick<Watched, "connection" | "sub">): void {
    this.#followed.watch(attachment, who);
  }

  /** Whether decisions about rights are recorded. All users of a collection would be too many. */
  get recordsRights(): boolean {
    return this.#subject.kind !== "document";
  }

  recordRights(rights: Omit<RecordedRights, "kind" | "key" | "node" | "atMs">, nowMs: number): void {
    this.#log.add({ kind: "rights", ...this.#stamp(nowMs), ...rights });
  }

  #forget(entry: Recorded): void {
    this.#parts.onDropped();
    if (entry.kind === "rights") return;
    const { commit, decisions } = entry;
    // A client that never reads would keep them for as long as the trace runs.
    for (const { sends } of decisions) for (const send of sends) this.#pendingOf.get(send)?.delete(send);
    commit.changes.delete(entry);
    if (commit.changes.size === 0) this.#commits.delete(commit.cursor);
  }
}

/** The `_id` of a document is a part of its contents. */
const withoutId = (subject: TraceSubject): TraceSubject =>
  "documentId" in subject ? { ...subject, documentId: "…" } : subject;

function contentsOf({ documentKey, before, after }: ChangeEvent) {
  const documentId = cut(encodeValue(idOf(documentKey), "ejson"));
  return { documentId, before: documentText(before), after: documentText(after) };
}

function documentText(document: Uint8Array | undefined): string | null {
  if (document === undefined) return null;
  if (document.length > DOCUMENT_MAX) return `… ${document.length} bytes, which is too large for a trace`;
  return cut(encodeDocument(document, EVERYTHING, "ejson"));
}

const cut = (text: string) =>
  text.length > DOCUMENT_TEXT_MAX ? `${text.slice(0, DOCUMENT_TEXT_MAX)}…` : text;
