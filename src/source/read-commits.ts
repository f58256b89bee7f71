/**
 * Assembles commits from change events. A client must never see half of a transaction, and MongoDB sends its events one
 * by one without marking the last, so this file decides when a transaction is complete.
 */
import {
  type Commit,
  type ParsedEvent,
  parseEvent,
  rawTokenOf,
  readTokenData,
  SingleCommit,
  type StreamEvent,
  toStreamEvents,
} from "./change-event.ts";
import type { RawChangeStream } from "./change-stream.ts";
import { clusterTimeOfToken } from "./cluster-time.ts";

/** Consecutive commits, and how far the stream was read with them. */
export interface CommitBatch {
  readonly commits: readonly Commit[];
  /**
   * Every commit before this cluster time has been read; of this time itself, only those in `commits`. It also advances
   * on idle streams, with the server's periodic no-op.
   */
  readonly through: bigint;
  /** Resumes just after this batch; absent while that point is inside a transaction. */
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

/**
 * Assembles the events of a stream into commits. A transaction may span batches, and its end is not marked. It is
 * complete when another event follows, or when the server, asked again at once, has no more events: all events of a
 * transaction become visible together, so an empty answer proves the end.
 */
export async function* readCommits(
  stream: RawChangeStream,
  watched: ReadonlySet<string>,
  onNotice: NoticeHandler = () => {},
): AsyncGenerator<CommitBatch, void, void> {
  let open: OpenTransaction | undefined;
  let through = 0n;
  for (;;) {
    const raw = await stream.next(open === undefined ? undefined : PROBE_MS);
    const commits: Commit[] = [];
    let last: ParsedEvent | undefined;
    /** The last event after which no transaction is open. Only its token is a safe position to resume at. */
    let aligned: ParsedEvent | undefined;
    let invalidated: Uint8Array | undefined;
    const close = () => {
      if (open !== undefined && open.events.length > 0) commits.push(toCommit(open));
      open = undefined;
    };
    // An empty answer to the probe: the open transaction is complete.
    if (raw.events.length === 0) close();
    for (const bytes of raw.events) {
      const event = parseEvent(bytes);
      if (open !== undefined && event.transaction !== open.id) {
        close();
        aligned = last;
      }
      if (event.operation === "invalidate") invalidated = rawTokenOf(event);
      const streamEvents = toStreamEvents(event, watched);
      if (streamEvents.length === 0 || event.operation === "drop" || event.operation === "rename") {
        onNotice(event.operation, event.renamedTo ?? event.namespace);
      }
      if (event.transaction !== undefined) open = append(open, event, streamEvents);
      else if (streamEvents.length > 0) commits.push(new SingleCommit(event, streamEvents));
      last = event;
      if (event.clusterTime > through) through = event.clusterTime;
      if (event.transaction === undefined) aligned = event;
    }
    // The token of the batch covers more than the token of its last event, but inside a transaction it must not be
    // used.
    let resumeToken = aligned === undefined ? undefined : rawTokenOf(aligned);
    if (open === undefined) {
      resumeToken = raw.postBatchToken ?? resumeToken;
      through = laterOf(through, timeOf(raw.postBatchToken));
    }
    yield {
      commits,
      // The commits of an open transaction were not yielded yet, so its own time is not reached.
      through: open === undefined ? through : open.clusterTime - 1n,
      resumeToken,
      invalidated,
    };
    if (raw.ended || invalidated !== undefined) return;
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
  transaction.events.push(...events);
  transaction.bytes += event.raw.length;
  return transaction;
}

const toCommit = ({ id, ...rest }: OpenTransaction): Commit => ({ ...rest, identity: id });
