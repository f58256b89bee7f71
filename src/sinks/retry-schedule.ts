import type { SinkOptions } from "./options.ts";

/** The schedule of a sink for messages that its target refuses. */
export type RetryOptions = SinkOptions["retry"];

/** The largest part by which a delay is longer or shorter than the schedule says, so that retries do not come in waves. */
const JITTER = 0.1;

/**
 * How long to wait before the next attempt, in milliseconds.
 * @param attempts The attempts so far; at least 1.
 * @param random From 0 to 1, for tests.
 * @returns `null` if there are no attempts left.
 */
export function retryDelayMs(
  attempts: number,
  { attempts: most, firstMs, factor, maxMs }: RetryOptions,
  random = Math.random(),
): number | null {
  if (attempts >= most) return null;
  const delayMs = Math.min(firstMs * factor ** (attempts - 1), maxMs);
  return delayMs * (1 - JITTER + 2 * JITTER * random);
}

const OUTAGE_FIRST_MS = 500;
const OUTAGE_MAX_MS = 30_000;

/**
 * How long to wait before a target that cannot be reached is tried again, in milliseconds.
 * @param failures How often it was tried in vain since it last took a message; at least 1.
 */
export const outageDelayMs = (failures: number, random = Math.random()): number =>
  Math.min(OUTAGE_FIRST_MS * 2 ** (failures - 1), OUTAGE_MAX_MS) * (1 - JITTER + 2 * JITTER * random);
