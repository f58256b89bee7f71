import { vi } from "vitest";

/** Below the limit of a unit test, so that the failed assertion is reported and not the end of the time. */
const PATIENCE_MS = 50_000;

/**
 * Waits until an assertion passes. If timers are faked, each attempt advances them. `vi.waitFor` alone gives up after a second,
 * for which a busy machine may not run the process at all.
 * @returns The result of the assertion.
 */
export const untilPasses = <T>(
  assertion: () => T | Promise<T>,
  options: { interval?: number } = {},
): Promise<T> => vi.waitFor(assertion, { timeout: PATIENCE_MS, ...options });
