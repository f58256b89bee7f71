import type { Socket } from "node:net";

/** Counters of the socket's handle for which Node has no public name. */
interface WithHandle {
  readonly _handle?: { readonly bytesWritten?: number; readonly writeQueueSize?: number } | null;
}

/**
 * How many bytes the system has taken from the socket so far. It grows as long as a slow client reads at all.
 * `bytesWritten` of the socket counts waiting data as well, so it cannot show that.
 */
export function takenBytesOf(socket: Socket): number {
  const { bytesWritten, writeQueueSize = 0 } = (socket as WithHandle)._handle ?? {};
  // Without the handle's own counter, only complete writes are visible.
  return bytesWritten === undefined
    ? socket.bytesWritten - socket.writableLength
    : bytesWritten - writeQueueSize;
}
