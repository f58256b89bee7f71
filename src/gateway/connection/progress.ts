/**
 * Decides when a client may be sent "you have everything up to here". A watermark that was too early would let the
 * client resume past changes that it never received, so every subscription of the connection must be up to date in the
 * same turn.
 */

import type { Feed } from "../../feed/feed.ts";
import { SmallSet } from "../../feed/small-set.ts";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { amount } from "../../protocol/amount.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { GatewayContext } from "../context.ts";
import type { Attachment } from "./attachment.ts";
import type { AttachmentStart } from "./attachment-start.ts";
import { ClientPosition } from "./client-position.ts";
import type { Outbox } from "./outbox.ts";
import type { Subscriptions } from "./subscriptions.ts";

interface ProgressContext extends GuardParts {
  readonly feed: Feed;
  readonly server: Pick<GatewayContext["server"], "heartbeatMs">;
}

/** A fence that waits. */
export interface HeldFence {
  /** Aborted when nobody waits for the answer any more: the caller has left, or the connection has ended. */
  readonly gone: AbortSignal;
  /** The fence counts no longer. */
  release(): void;
}

/**
 * How far the delivery to one client has come. A watermark or the answer to a fence is sent only while no subscription
 * of the connection has missing changes.
 */
export class Progress {
  readonly #feed: Feed;
  readonly #subscriptions: Subscriptions;
  readonly #outbox: Outbox;
  readonly #guard: GuardParts;
  readonly #heartbeatMs: number;
  readonly #published: ClientPosition;
  /** A watermark was due while changes were still missing. */
  #owesWatermark = false;
  #watermarkAtMs: number;
  readonly #fences = new SmallSet<AbortController>();
  #isOver = false;

  constructor(context: ProgressContext, subscriptions: Subscriptions, outbox: Outbox, nowMs: number) {
    const { feed, server } = context;
    const { heartbeatMs } = server;
    this.#guard = context;
    this.#feed = feed;
    this.#subscriptions = subscriptions;
    this.#outbox = outbox;
    this.#heartbeatMs = heartbeatMs;
    this.#published = new ClientPosition(feed);
    this.#watermarkAtMs = nextWatermarkMs(nowMs, heartbeatMs);
  }

  /** The cursor up to which the client has everything. To be called when nothing is missing. */
  nextCursor(): string {
    return this.#published.next(this.#starts);
  }

  /** Like `nextCursor`, for one attachment that has delivered everything. */
  cursorOf(attachment: Attachment): string {
    return this.#published.of(attachment.start);
  }

  /** Whether the client was sent a change from which it may know that it has everything up to a cluster time. */
  covers(clusterTime: bigint): boolean {
    return this.#published.covers(this.#starts, clusterTime);
  }

  /** Sends "everything up to this cursor was delivered", or remembers to do so once nothing is missing. */
  sendWatermark(): void {
    this.#owesWatermark = true;
    if (!this.#feed.timeline.isReady || !this.#catchesUp()) return;
    this.#owesWatermark = false;
    this.#watermarkAtMs = nextWatermarkMs(Date.now(), this.#heartbeatMs);
    this.#outbox.send({ type: "watermark", cursor: this.nextCursor() });
  }

  /** Sends a watermark if the next tick would be too late for it. */
  sendWatermarkIfDue(nowMs: number, tickMs: number): void {
    if (nowMs + tickMs > this.#watermarkAtMs) this.sendWatermark();
  }

  /** An attachment delivers changes as they arrive from now on. */
  becameLive(afterCatchUp: boolean): void {
    // Another attachment may have caught up earlier, while this one was still behind.
    if (afterCatchUp || this.#owesWatermark) this.sendWatermark();
    this.#subscriptions.changes.notify();
  }

  /**
   * Settles when nothing is missing on any subscription of this connection, the connection has ended, or the caller no
   * longer waits.
   * @param then Called in the turn in which nothing is missing.
   * @param gone Aborted when the caller no longer waits.
   * @throws {TidewireError} `unavailable` at `deadlineMs`.
   */
  async caughtUp(deadlineMs: number, then: () => void, gone?: AbortSignal): Promise<void> {
    let isLate = false;
    const late = guarded(this.#guard, "progress.late", () => {
      isLate = true;
      this.#subscriptions.changes.notify();
    });
    const left = guarded(this.#guard, "progress.left", () => this.#subscriptions.changes.notify());
    const timer = setTimeout(late, deadlineMs - Date.now());
    gone?.addEventListener("abort", left);
    try {
      while (this.#subscriptions.pending.size > 0 || !this.#catchesUp()) {
        if (this.#isOver || gone?.aborted === true) return;
        if (isLate) {
          throw new TidewireError(
            "unavailable",
            "this connection has not caught up in time: try again later",
          );
        }
        // The evaluation of a commit ends with the gate of the feed, everything else with an event of the
        // subscriptions.
        const caughtUp = this.#subscriptions.mayHaveCaughtUp();
        await (this.#feed.timeline.isSettled
          ? caughtUp
          : Promise.race([caughtUp, this.#feed.timeline.settles]));
      }
      if (gone?.aborted !== true) then();
    } finally {
      clearTimeout(timer);
      gone?.removeEventListener("abort", left);
    }
  }

  /**
   * Counts a fence until it is released.
   * @param left Aborted when the caller no longer waits.
   * @throws {TidewireError} `too-many-requests`
   */
  holdFence(most: number, left?: AbortSignal): HeldFence {
    if (this.#fences.size >= most) {
      const text = `${amount(most, "fence waits", "fences wait")} on this connection already`;
      throw new TidewireError("too-many-requests", text, { limit: "fences", value: most });
    }
    const gone = new AbortController();
    const leave = () => gone.abort();
    if (this.#isOver || left?.aborted === true) leave();
    left?.addEventListener("abort", leave);
    this.#fences.add(gone);
    const release = () => {
      this.#fences.delete(gone);
      left?.removeEventListener("abort", leave);
    };
    return { gone: gone.signal, release };
  }

  /** The connection has ended, so waits on it end as well. */
  end(): void {
    this.#isOver = true;
    for (const fence of this.#fences) fence.abort();
    this.#subscriptions.changes.notify();
  }

  /**
   * Sends the rows that are held back to this client, because a watermark and a fence do not wait for their time.
   * @returns Whether nothing is missing now.
   */
  #catchesUp(): boolean {
    if (!this.#feed.timeline.isSettled) return false;
    const { attachments } = this.#subscriptions;
    for (const { delivery } of attachments) if (!delivery.isLive && !delivery.isHeldBack) return false;
    for (const { delivery } of attachments) delivery.sendHeld();
    return !this.#subscriptions.isBehind;
  }

  get #starts(): AttachmentStart[] {
    return Array.from(this.#subscriptions.attachments, ({ start }) => start);
  }
}

/** Within one heartbeat, and at different moments for connections that were opened together. */
const nextWatermarkMs = (nowMs: number, heartbeatMs: number) =>
  nowMs + heartbeatMs * (0.75 + Math.random() / 4);
