import type { Socket } from "node:net";

/** Libuv's own count of what it could not hand to the system yet; Node has no public name for it. */
interface WithHandle {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/** Of `bufferedBytes`, what has not even begun to leave the socket; it falls while a slow client reads at all. */
export function pendingBytesOf(socket: Socket, bufferedBytes: number): number {
  const atLibuv = (socket as WithHandle)._handle?.writeQueueSize;
  // Without it, only whole writes count as progress.
  return atLibuv === undefined || atLibuv === 0 ? bufferedBytes : atLibuv;
}
