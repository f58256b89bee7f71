import { clusterTimeOf, secondsOf } from "../source/cluster-time.ts";
import { AFTER, type CursorCodec, type Position, type PublishedPosition } from "./cursor.ts";
import type { GrantPoint } from "./grant-diff.ts";
import type { HistoryEntry } from "./history.ts";
import type { LiveQuery } from "./live-query.ts";
import type { PublishedHead } from "./published-head.ts";
import type { Timeline } from "./timeline.ts";

/** A position from which changes are sent, with the cursor that clients receive for it. */
export interface ChangesStart extends PublishedPosition {
  readonly seq: number;
  /** Until then it is the current one, in epoch milliseconds. */
  readonly untilMs: number;
}

/**
 * The cursors that clients receive where no change of their own bears one. The head of the stream moves with every
 * commit, also with commits that a client may not see. So clients receive hidden cursors, which stay the same for the
 * length of a step of the clock.
 */
export class ClientCursors {
  readonly #timeline: Timeline;
  readonly #publishedHead: PublishedHead;
  readonly #nowMs: () => number;
  /** Everything below was made by this codec, and is void under another one. */
  #madeBy: CursorCodec | undefined;
  /** The latest published head: most callers ask within the same step. */
  #published: ChangesStart | undefined;
  /** The point at the head at which rights changed last. */
  #headPoint: (GrantPoint & { readonly untilMs: number }) | undefined;
  #changesStarts = new WeakMap<LiveQuery, ChangesStart>();

  /** @param nowMs MongoDB's clock, in epoch milliseconds. */
  constructor(timeline: Timeline, publishedHead: PublishedHead, nowMs: () => number) {
    this.#timeline = timeline;
    this.#publishedHead = publishedHead;
    this.#nowMs = nowMs;
  }

  /** Whether clients receive the head itself. */
  get tellsExactly(): boolean {
    return this.#publishedHead.isExact;
  }

  /**
   * The cursor that clients receive in place of the head: for the length of a step the same hidden cursor. All live
   * queries have handed out everything up to its position.
   */
  get published(): ChangesStart {
    if (this.tellsExactly) {
      const { position, seq } = this.#timeline.settledHead;
      return { position, cursor: this.#codec.encode(position), seq, untilMs: 0 };
    }
    this.#forgetOtherEpoch();
    const nowMs = this.#nowMs();
    if (this.#published === undefined || nowMs >= this.#published.untilMs) {
      const { position, seq } = this.#timeline.settledHead;
      this.#published = { ...this.#hide(position, nowMs), seq };
    }
    return this.#published;
  }

  /** The age of the published head by MongoDB's clock, in seconds; 0 before the stream has found its start. */
  get publishedAgeSeconds(): number {
    if (!this.#timeline.isReady) return 0;
    return Math.max(0, this.#nowMs() / 1_000 - secondsOf(this.published.position.clusterTime));
  }

  /** Makes the head as it is now the published head for all clients, before the next step. */
  renewPublished(): PublishedPosition {
    this.#published = undefined;
    return this.published;
  }

  /** The cursor of a result that was just read, as it was after a cluster time. */
  ofReading(clusterTime: bigint): string {
    const position = { clusterTime, within: AFTER };
    return this.tellsExactly ? this.#codec.encode(position) : this.#hide(position, this.#nowMs()).cursor;
  }

  /**
   * The start for a client that follows only the changes of a live query. For the length of a step, and while the result
   * does not change, every client receives the same one: a newer one would reveal that something else was written.
   * @param since The start is of this cluster time or later.
   */
  startOfChanges(liveQuery: LiveQuery, since: bigint): ChangesStart {
    const { head: position, headSeq: seq } = this.#timeline;
    if (this.tellsExactly) return { cursor: this.#codec.encode(position), position, seq, untilMs: 0 };
    this.#forgetOtherEpoch();
    const nowMs = this.#nowMs();
    for (const known of [this.published, this.#changesStarts.get(liveQuery)]) {
      const isGood = known !== undefined && nowMs < known.untilMs && known.position.clusterTime >= since;
      if (isGood && liveQuery.after(known.seq)?.length === 0) return known;
    }
    const start = { ...this.#hide(position, nowMs), seq };
    this.#changesStarts.set(liveQuery, start);
    return start;
  }

  /** The point at which rights change: at a commit that is being accepted, or at the head. */
  grantPoint(entry: HistoryEntry | null): GrantPoint {
    if (entry !== null) {
      const { clusterTime } = entry.commit;
      const published = { before: this.#cursorBefore(clusterTime), after: entry.cursor };
      return { entry, clusterTime, seq: entry.seq, published };
    }
    this.#forgetOtherEpoch();
    const { headTime: clusterTime, headSeq: seq } = this.#timeline;
    const known = this.#headPoint;
    const nowMs = this.#nowMs();
    // Clients whose rights change at one point receive the same cursors, and share the difference.
    if (known?.clusterTime === clusterTime && known.seq === seq && nowMs < known.untilMs) return known;
    const point = { entry, clusterTime, seq, published: this.#cursorsOfHead(clusterTime, nowMs) };
    this.#headPoint = { ...point, untilMs: this.tellsExactly ? 0 : this.#publishedHead.stepEndsAtMs(nowMs) };
    return this.#headPoint;
  }

  /** The exact position at which a change of rights has taken effect. */
  positionAfter({ entry, clusterTime }: GrantPoint): Position {
    return entry?.position ?? { clusterTime, within: AFTER };
  }

  /**
   * Settles when the published head has passed an operation time, as the drivers give it, or when the caller was sent a change
   * of that time or later. So the wait reveals nothing about writes that the caller does not see.
   * @throws {TidewireError} `unavailable` after `timeoutMs`.
   */
  publishedReached(
    { t, i }: { t: number; i: number },
    hasBeenSent: (clusterTime: bigint) => boolean,
    timeoutMs: number,
  ): Promise<void> {
    const clusterTime = clusterTimeOf(t, i);
    const isDone = () => hasBeenSent(clusterTime) || this.#hasTold(clusterTime);
    const againMs = this.#publishedHead.passesAtMs(clusterTime) - this.#nowMs();
    return this.#timeline.advances.until(isDone, timeoutMs, againMs);
  }

  #hasTold(clusterTime: bigint): boolean {
    const { isSettled, headTime, settledTime, history } = this.#timeline;
    if (this.#publishedHead.isExact) return isSettled && headTime >= clusterTime;
    const readSoFar = { headTime: settledTime, from: history.from };
    return this.#publishedHead.at(this.#nowMs(), readSoFar) > clusterTime;
  }

  #cursorsOfHead(clusterTime: bigint, nowMs: number): GrantPoint["published"] {
    const after = { clusterTime, within: AFTER };
    if (this.tellsExactly)
      return { before: this.#cursorBefore(clusterTime), after: this.#codec.encode(after) };
    const before = { ...after, clusterTime: clusterTime - 1n };
    return {
      before: this.#codec.encodeHidden(before, nowMs - 1),
      after: this.#codec.encodeHidden(after, nowMs),
    };
  }

  /** Of an earlier cluster time, so that a ticket which begins at this one does not go with it. */
  #cursorBefore(clusterTime: bigint): string {
    return this.#codec.encode({ clusterTime: clusterTime - 1n, within: AFTER });
  }

  #hide(position: Position, issuedMs: number): PublishedPosition & { readonly untilMs: number } {
    const cursor = this.#codec.encodeHidden(position, issuedMs);
    const untilMs = this.#publishedHead.stepEndsAtMs(issuedMs);
    return { position: { ...position, issuedMs }, cursor, untilMs };
  }

  /** A cursor of the epoch before would be refused, and would cost the client its state. */
  #forgetOtherEpoch(): void {
    const { codec } = this.#timeline;
    if (this.#madeBy === codec) return;
    this.#madeBy = codec;
    this.#published = undefined;
    this.#headPoint = undefined;
    this.#changesStarts = new WeakMap();
  }

  get #codec(): CursorCodec {
    return this.#timeline.codec;
  }
}
