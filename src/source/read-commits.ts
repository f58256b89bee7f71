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

/** Consecutive commits, and how far the stream has been read with them. */
export interface CommitBatch {
  readonly commits: readonly Commit[];
  /**
   * Everything before this cluster time has been seen; of this time itself, what `commits` holds. Moves on
   * idle streams too, with the server's periodic no-op.
   */
  readonly through: bigint;
  /** Resumes just after this batch; absent while that point lies inside a transaction. */
  readonly resumeToken: Uint8Array | undefined;
  /** The stream has ended with an invalidate event: go on by `startAfter` this token. */
  readonly invalidated: Uint8Array | undefined;
}

/** Something happened to a watched collection itself: created, its options modified, dropped… */
export type NoticeHandler = (operation: string, namespace: string) => void;

/** Waits just long enough for the server to hand over what it already has. */
const PROBE_MS = 1;

interface OpenTransaction {
  readonly id: string;
  readonly clusterTime: bigint;
  readonly wallTimeMs: number | null;
  readonly events: StreamEvent[];
  bytes: number;
}

/**
 * Puts a stream's events together into commits. A transaction may straddle batches, and its end is not
 * marked: it is complete when another event follows, or when the server, asked again at once, has no more.
 * (All events of a transaction become visible together, so an empty answer is proof.)
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
    /** The last event after which no transaction is open. */
    let aligned: ParsedEvent | undefined;
    let invalidated: Uint8Array | undefined;
    const close = () => {
      if (open !== undefined && open.events.length > 0) commits.push(toCommit(open));
      open = undefined;
    };
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
    let resumeToken = aligned === undefined ? undefined : rawTokenOf(aligned);
    if (open === undefined) {
      resumeToken = raw.postBatchToken ?? resumeToken;
      through = laterOf(through, timeOf(raw.postBatchToken));
    }
    yield {
      commits,
      // Of an open transaction nothing has been handed on yet: its own time is not reached.
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
