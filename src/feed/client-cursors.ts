/**
 * Decides which cursors clients receive. A cursor of the head would change with every commit of the deployment, so a
 * client could count writes that it may not see. Clients therefore receive hidden cursors, which change only with the
 * steps of a clock.
 */
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
  /** The end of its validity as the current one, in epoch milliseconds. */
  readonly untilMs: number;
}

/**
 * The cursors that clients receive when no change of their own carries one. The head of the stream advances with every
 * commit, including commits that a client may not see. So clients receive hidden cursors, which stay the same during
 * one step of the clock.
 */
export class ClientCursors {
  readonly #timeline: Timeline;
  readonly #publishedHead: PublishedHead;
  readonly #nowMs: () => number;
  /** The codec that made everything below. Under another codec it is void. */
  #madeBy: CursorCodec | undefined;
  /** The latest published head, because most callers ask within the same step. */
  #published: ChangesStart | undefined;
  /** The latest point at the head at which rights changed. */
  #headPoint: (GrantPoint & { readonly untilMs: number }) | undefined;
  #changesStarts = new WeakMap<LiveQuery, ChangesStart>();

  /** @param nowMs MongoDB's clock, in epoch milliseconds. */
  constructor(timeline: Timeline, publishedHead: PublishedHead, nowMs: () => number) {
    this.#timeline = timeline;
    this.#publishedHead = publishedHead;
    this.#nowMs = nowMs;
  }

  /** Whether clients receive the exact head. */
  get isExact(): boolean {
    return this.#publishedHead.isExact;
  }

  /**
   * The cursor that clients receive in place of the head. During one step it is always the same hidden cursor. Every
   * live query has delivered all commits up to its position.
   */
  get published(): ChangesStart {
    if (this.isExact) {
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

  /** Publishes the current head to all clients, before the next step. */
  renewPublished(): PublishedPosition {
    this.#published = undefined;
    return this.published;
  }

  /** The cursor of a result that was just read, as of a cluster time. */
  ofReading(clusterTime: bigint): string {
    const position = { clusterTime, within: AFTER };
    return this.isExact ? this.#codec.encode(position) : this.#hide(position, this.#nowMs()).cursor;
  }

  /**
   * The start for a client that only follows the changes of a live query. During one step, and while the result does
   * not change, every client receives the same one. A newer one would reveal that something else was written.
   * @param since The start is of this cluster time or later.
   */
  startOfChanges(liveQuery: LiveQuery, since: bigint): ChangesStart {
    const { head: position, headSeq: seq } = this.#timeline;
    if (this.isExact) return { cursor: this.#codec.encode(position), position, seq, untilMs: 0 };
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

  /** The point at which rights change: a commit that is being accepted, or the head. */
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
    // Clients whose rights change at one point receive the same cursors, so that they share one difference.
    if (known?.clusterTime === clusterTime && known.seq === seq && nowMs < known.untilMs) return known;
    const point = { entry, clusterTime, seq, published: this.#cursorsOfHead(clusterTime, nowMs) };
    this.#headPoint = { ...point, untilMs: this.isExact ? 0 : this.#publishedHead.stepEndsAtMs(nowMs) };
    return this.#headPoint;
  }

  /** The exact position at which a change of rights has taken effect. */
  positionAfter({ entry, clusterTime }: GrantPoint): Position {
    return entry?.position ?? { clusterTime, within: AFTER };
  }

  /**
   * Settles when the published head has passed an operation time, in the form of the drivers, or when the caller was
   * sent a change of that time or later. So the length of the wait reveals nothing about writes that the caller may not
   * see.
   * @param gone Aborted when the caller no longer waits.
   * @throws {TidewireError} `unavailable` after `timeoutMs`, or when the caller no longer waits.
   */
  publishedReached(
    { t, i }: { t: number; i: number },
    hasBeenSent: (clusterTime: bigint) => boolean,
    timeoutMs: number,
    gone?: AbortSignal,
  ): Promise<void> {
    const clusterTime = clusterTimeOf(t, i);
    const isDone = () => hasBeenSent(clusterTime) || this.#hasPublished(clusterTime);
    const againMs = this.#publishedHead.passesAtMs(clusterTime) - this.#nowMs();
    return this.#timeline.advances.until(isDone, timeoutMs, againMs, gone);
  }

  #hasPublished(clusterTime: bigint): boolean {
    const { isSettled, headTime, settledTime, history } = this.#timeline;
    if (this.#publishedHead.isExact) return isSettled && headTime >= clusterTime;
    const readSoFar = { headTime: settledTime, from: history.from };
    return this.#publishedHead.at(this.#nowMs(), readSoFar) > clusterTime;
  }

  #cursorsOfHead(clusterTime: bigint, nowMs: number): GrantPoint["published"] {
    const after = { clusterTime, within: AFTER };
    if (this.isExact) return { before: this.#cursorBefore(clusterTime), after: this.#codec.encode(after) };
    const before = { ...after, clusterTime: clusterTime - 1n };
    return {
      before: this.#codec.encodeHidden(before, nowMs - 1),
      after: this.#codec.encodeHidden(after, nowMs),
    };
  }

  /** A cursor of an earlier cluster time, so that it does not fit a ticket that begins at this one. */
  #cursorBefore(clusterTime: bigint): string {
    return this.#codec.encode({ clusterTime: clusterTime - 1n, within: AFTER });
  }

  #hide(position: Position, issuedMs: number): PublishedPosition & { readonly untilMs: number } {
    const cursor = this.#codec.encodeHidden(position, issuedMs);
    const untilMs = this.#publishedHead.stepEndsAtMs(issuedMs);
    return { position: { ...position, issuedMs }, cursor, untilMs };
  }

  /** Drops cursors of the previous epoch. A client that presented one would receive `reset` and lose its state. */
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
