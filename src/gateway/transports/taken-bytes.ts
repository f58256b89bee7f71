import type { Socket } from "node:net";

/** Counts of the socket's handle that Node has no public name for. */
interface WithHandle {
  readonly _handle?: { readonly bytesWritten?: number; readonly writeQueueSize?: number } | null;
}

/** So many bytes the system has taken from the socket by now: it grows as long as a slow client reads at all. */
export function takenBytesOf(socket: Socket): number {
  const { bytesWritten, writeQueueSize = 0 } = (socket as WithHandle)._handle ?? {};
  // Without the handle's own count, only whole writes are seen.
  return bytesWritten === undefined
    ? socket.bytesWritten - socket.writableLength
    : bytesWritten - writeQueueSize;
}
