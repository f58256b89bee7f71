/** A clock with fractions of a millisecond that other processes can be compared with. */

/** Below this, a difference to the system's clock is its rounding to milliseconds, or its own small corrections. */
const SET_MS = 5;

/**
 * A clock that counts on from its first reading, and follows the system's clock where that has been set. The time that a
 * process began with does not: a machine that slept, or whose clock was corrected, would be wrong for as long as the process runs.
 * @param systemMs The system's clock, in epoch milliseconds.
 * @param elapsedMs A clock that only counts on, in milliseconds with fractions.
 * @returns The time in epoch milliseconds with fractions. It goes back only where the system's clock was set back.
 */
export function preciseClock(
  systemMs: () => number,
  elapsedMs: () => number,
  beganAtMs: number,
): () => number {
  let originMs = beganAtMs;
  return () => {
    const sinceMs = elapsedMs();
    const aheadMs = systemMs() - (originMs + sinceMs);
    if (Math.abs(aheadMs) > SET_MS) originMs += aheadMs;
    return originMs + sinceMs;
  };
}

/** The time of this thread. All threads of a process agree within microseconds, or a millisecond after the clock was set. */
export const preciseNow = preciseClock(
  () => Date.now(),
  () => performance.now(),
  performance.timeOrigin,
);
