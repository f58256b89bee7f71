import { setTimeout as sleep } from "node:timers/promises";
import { TidewireError } from "../protocol/errors.ts";
import type { Chunk } from "./chunk.ts";
import type { DeliveryContext } from "./delivery-parts.ts";

const RETRY_MS = 1_000;

/**
 * How a step of a delivery ended: `done`; `abandoned`, because something else was decided meanwhile; `lost`, because what
 * follows is no longer known; or with the reason of the reset that has to follow.
 */
export type StepOutcome = "done" | "abandoned" | "lost" | "lagged" | "history-lost";

/** One step of a delivery. It writes and waits only for as long as the step is current. */
export class DeliveryStep {
  readonly context: DeliveryContext;
  /** `false` when something else was decided, so that the step has become pointless. */
  readonly isCurrent: () => boolean;

  constructor(context: DeliveryContext, isCurrent: () => boolean) {
    this.context = context;
    this.isCurrent = isCurrent;
  }

  /**
   * Writes, and waits for room. `false` when the connection has ended, `timeoutMs` has passed, or the step has become
   * pointless meanwhile: data that the client may no longer see must not be written when there is room at last.
   */
  async write(chunk: Chunk, timeoutMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { sink } = this.context;
    const deadline = Date.now() + timeoutMs;
    while (!sink.write(chunk)) {
      if (!(await sink.room(chunk.size)) || Date.now() > deadline || !this.isCurrent()) return false;
    }
    return true;
  }

  /**
   * Waits until data of a cluster time may be sent. Before the stream has reached that time, rights that depend on other
   * documents, or on the token, may have been withdrawn by then. `false` where waiting has become pointless.
   */
  async mayShow(clusterTime: bigint): Promise<boolean> {
    const { parts, rights, sink } = this.context;
    if (parts.timeline.settledTime >= clusterTime) return true;
    if (!rights.isConditional && (await sink.mayRead(clusterTime))) return this.isCurrent();
    return this.streamReaches(clusterTime);
  }

  /** Waits until the stream has reached a cluster time; `false` where that has become pointless meanwhile. */
  async streamReaches(clusterTime: bigint): Promise<boolean> {
    const { timeline } = this.context.parts;
    while (this.isCurrent() && timeline.settledTime < clusterTime) await timeline.advances.next();
    return this.isCurrent();
  }

  /** Tries again while MongoDB does not answer; `null` where that has become pointless meanwhile. */
  async untilAvailable<T>(ask: () => Promise<T>): Promise<T | null> {
    while (this.isCurrent()) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof TidewireError) || error.code !== "unavailable") throw error;
        await sleep((error.retryAfterMs ?? RETRY_MS) * (0.5 + Math.random()));
      }
    }
    return null;
  }
}
