/**
 * The schedule of a writer: each write is due at a tick. Delivery times begin there, and not when the write was made.
 * Otherwise a stall of MongoDB would delay the very writes that would show it, and nobody would see it.
 */

/** A writer looks this often for writes that are due. */
export const TICK_MS = 10;
/** Far below a tick or a write, and far above the rounding of the numbers here. */
const ROUNDING = 1e-6;

/** How many writes are due after a time. @param rate Writes per second. */
export function dueCount(elapsedMs: number, rate: number): number {
  const ticks = Math.floor(elapsedMs / TICK_MS + ROUNDING);
  return Math.floor((ticks * TICK_MS * rate) / 1_000 + ROUNDING);
}

/** The time after which a number of writes is due. */
export function dueAfterMs(count: number, rate: number): number {
  return Math.ceil((count * 1_000) / rate / TICK_MS - ROUNDING) * TICK_MS;
}
