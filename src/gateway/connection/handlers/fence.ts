/**
 * Read your own writes. A client that has written through its own backend waits here until its subscriptions show the
 * write.
 */
import { TidewireError } from "../../../protocol/errors.ts";
import type { FenceMessage, ServerMessage } from "../../../protocol/messages.ts";
import type { GatewayContext } from "../../context.ts";
import type { Progress } from "../progress.ts";

/** The parts of a connection that a fence needs. */
export interface FenceHost {
  readonly context: Pick<GatewayContext, "limits" | "feed">;
  readonly progress: Pick<Progress, "holdFence" | "covers" | "caughtUp" | "nextCursor">;
  send(message: ServerMessage): void;
}

/**
 * [3.1] Answers once every change up to the operation time of a write has been sent. The wait ends with the connection.
 * @param left Aborted when the client no longer waits for the answer. The fence then counts no longer.
 */
export async function handleFence(
  connection: FenceHost,
  { id, operationTime }: FenceMessage,
  left?: AbortSignal,
): Promise<void> {
  const { limits, feed } = connection.context;
  const { progress } = connection;
  const { gone, release } = progress.holdFence(limits.fences, left);
  try {
    const deadlineMs = Date.now() + limits.fenceTimeoutMs;
    const isSent = (clusterTime: bigint) => progress.covers(clusterTime);
    await feed.cursors.publishedReached(operationTime.$timestamp, isSent, limits.fenceTimeoutMs, gone);
    const answer = () => connection.send({ type: "fenced", id, cursor: progress.nextCursor() });
    await progress.caughtUp(deadlineMs, answer, gone);
  } catch (error) {
    const isAbandoned = gone.aborted && error instanceof TidewireError;
    if (!isAbandoned) throw error;
  } finally {
    release();
  }
}
