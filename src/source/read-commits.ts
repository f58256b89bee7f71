/**
 * Assembles commits from change events. A client must never see half of a transaction, and MongoDB sends its events one
 * by one without marking the last, so this file decides when a transaction is complete.
 */
import {
  type Commit,
  isDocumentOperation,
  type ParsedEvent,
  parseEvent,
  rawTokenOf,
  readTokenData,
  SingleCommit,
  type StreamEvent,
  toStreamEvents,
} from "./change-event.ts";
import type { RawBatch, RawStream } from "./change-stream.ts";
import { clusterTimeOfToken } from "./cluster-time.ts";
import type { Namespaces } from "./read-set.ts";

/** Consecutive commits, and how far the stream was read with them. */
export interface CommitBatch {
  readonly commits: readonly Commit[];
  /**
   * Every commit up to this cluster time, itself included, has been read. It also advances on idle streams, with the
   * server's periodic no-op.
   */
  readonly through: bigint;
  /** Resumes just after this batch; absent while that point is inside a transaction or a cluster time. */
  readonly resumeToken: Uint8Array | undefined;
  /** The stream has ended with an invalidate event. The next stream must use `startAfter` with this token. */
  readonly invalidated: Uint8Array | undefined;
}

/** An event about a watched collection itself: created, options modified, dropped and so on. */
export type NoticeHandler = (operation: string, namespace: string) => void;

/** A wait that only covers events that the server already has, in milliseconds. */
const PROBE_MS = 1;

interface OpenTransaction {
  readonly id: string;
  readonly clusterTime: bigint;
  readonly wallTimeMs: number | null;
  readonly events: StreamEvent[];
  bytes: number;
}

/** A cluster time at the end of a full batch: more of its events may follow in the next one. */
interface CutTime {
  readonly clusterTime: bigint;
  readonly commits: Commit[];
}

/** Puts the events of one stream together into commits, batch by batch. */
class CommitAssembly {
  readonly #watched: Namespaces;
  readonly #onNotice: NoticeHandler;
  readonly #onSkipped: () => void;
  #open: OpenTransaction | undefined;
  #cut: CutTime | undefined;
  #through = 0n;
  #last: ParsedEvent | undefined;
  #commits: Commit[] = [];
  /** The last event after which no transaction is open. Only its token is a safe position to resume at. */
  #aligned: ParsedEvent | undefined;
  /** As `#aligned`, of an earlier cluster time than the last event. */
  #alignedEarlier: ParsedEvent | undefined;

  constructor(watched: Namespaces, onNotice: NoticeHandler, onSkipped: () => void) {
    this.#watched = watched;
    this.#onNotice = onNotice;
    this.#onSkipped = onSkipped;
  }

  /** Whether something is held back until the server shows that it is complete. */
  get isWaiting(): boolean {
    return this.#open !== undefined || this.#cut !== undefined;
  }

  take(raw: RawBatch): CommitBatch {
    this.#commits = this.#cut?.commits ?? [];
    this.#aligned = undefined;
    this.#alignedEarlier = undefined;
    let invalidated: Uint8Array | undefined;
    // An empty answer to the probe: the open transaction is complete.
    if (raw.events.length === 0) this.#closeTransaction();
    for (const bytes of raw.events) {
      const event = parseEvent(bytes);
      this.#add(event);
      if (event.operation === "invalidate") invalidated = rawTokenOf(event);
    }
    if (raw.isAligned === true && this.#open !== undefined) {
      this.#closeTransaction();
      this.#aligned = this.#last;
    }
    this.#cut = invalidated === undefined && raw.isAligned !== true ? this.#cutOff(raw) : undefined;
    // A batch may complete what was held back without an event of its own that is a safe position. The commits that it
    // hands on must not come again after a reconnection.
    const resumeEvent =
      this.#cut === undefined ? (this.#aligned ?? this.#alignedEarlier) : this.#alignedEarlier;
    let resumeToken = resumeEvent === undefined ? undefined : rawTokenOf(resumeEvent);
    // The token of the batch covers more than the token of its last event, but inside a transaction it must not be
    // used.
    if (!this.isWaiting) {
      // Nothing holds the bytes of a whole answer while the stream is idle.
      this.#last = undefined;
      resumeToken = raw.postBatchToken ?? resumeToken;
      this.#through = laterOf(this.#through, timeOf(raw.postBatchToken));
    }
    const held = this.#open ?? this.#cut;
    // The commits of an open transaction and of a cut time were not yielded yet, so their own time is not reached.
    const through = held === undefined ? this.#through : held.clusterTime - 1n;
    return { commits: this.#commits, through, resumeToken, invalidated };
  }

  #add(event: ParsedEvent): void {
    const last = this.#last;
    if (this.#open !== undefined && event.transaction !== this.#open.id) {
      this.#closeTransaction();
      this.#aligned = last;
    }
    if (event.clusterTime !== last?.clusterTime)
      this.#alignedEarlier = this.#aligned ?? (this.#cut === undefined ? undefined : last);
    const events = toStreamEvents(event, this.#watched);
    if (events.length === 0 && isDocumentOperation(event.operation)) this.#onSkipped();
    else if (events.length === 0 || event.operation === "drop" || event.operation === "rename") {
      this.#onNotice(event.operation, event.renamedTo ?? event.namespace);
    }
    if (event.transaction !== undefined) this.#open = append(this.#open, event, events);
    else {
      if (events.length > 0) this.#commits.push(new SingleCommit(event, events));
      this.#aligned = event;
    }
    this.#last = event;
    if (event.clusterTime > this.#through) this.#through = event.clusterTime;
  }

  #closeTransaction(): void {
    if (this.#open !== undefined && this.#open.events.length > 0) this.#commits.push(toCommit(this.#open));
    this.#open = undefined;
  }

  /** Takes the commits of a cluster time that may not be complete out of the batch. */
  #cutOff(raw: RawBatch): CutTime | undefined {
    const isEmpty = raw.events.length === 0;
    const clusterTime = isEmpty ? this.#cut?.clusterTime : this.#last?.clusterTime;
    if (clusterTime === undefined || this.#open !== undefined) return undefined;
    // An empty answer is proof, unless it is empty because the stream has ended.
    const isComplete = isEmpty ? !raw.ended : !raw.isFull;
    if (isComplete || timeOf(raw.postBatchToken) > clusterTime) return undefined;
    let first = this.#commits.length;
    while (first > 0 && this.#commits[first - 1]?.clusterTime === clusterTime) first--;
    return { clusterTime, commits: this.#commits.splice(first) };
  }
}

/**
 * Assembles the events of a stream into commits. A transaction may span batches, and its end is not marked. It is
 * complete when another event follows, or when the server, asked again at once, has no more events: all events of a
 * transaction become visible together, so an empty answer proves the end. The same holds for the events of one cluster
 * time: MongoDB 8.0 writes several documents at one cluster time without a transaction. They are handed on together,
 * because a snapshot of that time contains all of them.
 * @param watched The collections whose events are kept. May change between two batches.
 * @param onSkipped Called for each write to a document of another collection.
 */
export async function* readCommits(
  stream: Pick<RawStream, "next">,
  watched: Namespaces,
  onNotice: NoticeHandler = () => {},
  onSkipped: () => void = () => {},
): AsyncGenerator<CommitBatch, void, void> {
  const assembly = new CommitAssembly(watched, onNotice, onSkipped);
  for (;;) {
    const raw = await stream.next(assembly.isWaiting ? PROBE_MS : undefined);
    const batch = assembly.take(raw);
    yield batch;
    if (raw.ended || batch.invalidated !== undefined) return;
  }
}

const laterOf = (a: bigint, b: bigint) => (b > a ? b : a);

function timeOf(token: Uint8Array | undefined): bigint {
  if (token === undefined) return 0n;
  const bytes = Buffer.from(token.buffer, token.byteOffset, token.byteLength);
  return clusterTimeOfToken(readTokenData(bytes)) ?? 0n;
}

function append(
  open: OpenTransaction | undefined,
  event: ParsedEvent,
  events: StreamEvent[],
): OpenTransaction {
  const transaction = open ?? {
    id: event.transaction ?? "",
    clusterTime: event.clusterTime,
    wallTimeMs: event.wallTimeMs,
    events: [],
    bytes: 0,
  };
  for (const one of events) transaction.events.push(one);
  transaction.bytes += event.raw.length;
  return transaction;
}

const toCommit = ({ id, ...rest }: OpenTransaction): Commit => ({ ...rest, identity: id });
