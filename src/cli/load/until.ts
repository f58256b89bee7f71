/** Waits that end by a time or a signal, because neither MongoDB nor the service may hold up the end of a run. */
import { StartupError } from "../../source/startup-error.ts";

/** Waits for work, but not longer than a time. @returns Whether it has ended, with or without success. */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const ended = work.then(
    () => true,
    () => true,
  );
  return Promise.race([ended, late]).finally(() => clearTimeout(timer));
}

/**
 * Waits for work that a run begins with.
 * @param signal Its reason says why the run ends.
 * @throws {StartupError} The signal was given first.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(new StartupError(`the run has ended before it began: ${signal.reason}`));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
  });
  work.catch(() => {}); // its failure has no reader if the signal was first
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener("abort", onAbort));
}
