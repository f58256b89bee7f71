/**
 * The tools of one step of a delivery. A step waits often (for room, for the stream, for MongoDB), and after each wait
 * the subscription may have been reset, moved or closed, so every method reports whether the step still counts.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { Chunk } from "./chunk.ts";
import type { DeliveryContext } from "./delivery-parts.ts";
import { pause } from "./pause.ts";

/** Pause before the next attempt while MongoDB does not answer, in milliseconds. */
const RETRY_MS = 1_000;

/**
 * How a step of a delivery ended: `done`; `abandoned`, because something else was decided meanwhile; `lost`, because
 * the changes that follow are no longer known; or with the reason of the reset that must follow.
 */
export type StepOutcome = "done" | "abandoned" | "lost" | "lagged" | "history-lost";

/** One step of a delivery. It writes and waits only as long as the step is current. */
export class DeliveryStep {
  readonly context: DeliveryContext;
  /** `false` once something else was decided for the delivery, so that this step must end. */
  readonly isCurrent: () => boolean;

  constructor(context: DeliveryContext, isCurrent: () => boolean) {
    this.context = context;
    this.isCurrent = isCurrent;
  }

  /**
   * Writes a chunk, and waits for room.
   * @param clusterTime The time of its data, for which `mayShow` has been asked. The rights may depend on lookups only since
   *   then, and a lookup may withdraw them up to that time.
   * @returns `false` if the connection has ended, or the step is no longer current: data that the client may not see
   *   any more must not be written when there is room at last.
   */
  async write(chunk: Chunk, clusterTime = 0n): Promise<boolean> {
    for (;;) {
      const outcome = await this.offer(chunk, clusterTime);
      if (outcome !== "no-room") return outcome === "written";
      if (!(await this.context.sink.room(chunk.size)) || !this.isCurrent()) return false;
    }
  }

  /** Like `write`, without the wait for room. `ended` if the step is no longer current. */
  async offer(chunk: Chunk, clusterTime = 0n): Promise<"written" | "no-room" | "ended"> {
    const { parts, rights, sink } = this.context;
    while (parts.timeline.settledTime < clusterTime && rights.isConditional)
      if (!(await this.streamReaches(clusterTime))) return "ended";
    return sink.write(chunk) ? "written" : "no-room";
  }

  /**
   * Waits until data of a cluster time may be sent. Rights that depend on other documents, or on the token, may have
   * been withdrawn by that time, and the stream shows it only when it has arrived there.
   * @returns `false` if the step is no longer current.
   */
  async mayShow(clusterTime: bigint): Promise<boolean> {
    const { parts, rights, sink } = this.context;
    if (parts.timeline.settledTime >= clusterTime) return true;
    if (!rights.isConditional && (await sink.mayRead(clusterTime))) return this.isCurrent();
    return this.streamReaches(clusterTime);
  }

  /**
   * Waits until the stream has reached a cluster time.
   * @returns `false` if the step is no longer current.
   */
  async streamReaches(clusterTime: bigint): Promise<boolean> {
    const { timeline } = this.context.parts;
    while (this.isCurrent() && timeline.settledTime < clusterTime) await timeline.advances.next();
    return this.isCurrent();
  }

  /**
   * Repeats a request while MongoDB does not answer.
   * @param isFinal Whether an error ends the attempts.
   * @returns `null` if the step is no longer current.
   */
  async untilAvailable<T>(
    ask: () => Promise<T>,
    isFinal: (error: unknown) => boolean = () => false,
  ): Promise<T | null> {
    while (this.isCurrent()) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof TidewireError) || error.code !== "unavailable" || isFinal(error)) throw error;
        // Random, so that the clients of one node do not all return in the same moment.
        await pause((error.retryAfterMs ?? RETRY_MS) * (0.5 + Math.random()));
      }
    }
    return null;
  }
}
