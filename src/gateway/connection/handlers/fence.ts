import { TidewireError } from "../../../protocol/errors.ts";
import type { FenceMessage } from "../../../protocol/messages.ts";
import type { Connection } from "../connection.ts";

/** [3.1] Answers once every change up to a write's operation time has been sent: read your own writes. */
export async function handleFence(
  connection: Connection,
  { id, operationTime }: FenceMessage,
): Promise<void> {
  const { limits, feed } = connection.context;
  if (connection.fences >= limits.fences) {
    const details = { limit: "fences", value: limits.fences };
    throw new TidewireError(
      "too-many-requests",
      `${limits.fences} fences wait on this connection already`,
      details,
    );
  }
  connection.fences++;
  try {
    const deadlineMs = Date.now() + limits.fenceTimeoutMs;
    const { subscriptions, told } = connection;
    const isSent = (clusterTime: bigint) => told.covers(subscriptions.attachments, clusterTime);
    await feed.cursors.toldReached(operationTime.$timestamp, isSent, limits.fenceTimeoutMs);
    await connection.caughtUp(deadlineMs, () =>
      connection.send({ type: "fenced", id, cursor: told.next(subscriptions.attachments) }),
    );
  } finally {
    connection.fences--;
  }
}
