/** A wait for a broker was given up. The text is safe to log. */
export class WaitEndedError extends Error {
  override readonly name = "WaitEndedError";
}

/**
 * Waits for an operation of a library that has no limit of its own. The operation goes on when the wait ends, so its
 * owner must close the connection then.
 * @throws {WaitEndedError} After `limitMs`, or when `signal` aborts.
 */
export async function within<T>(operation: Promise<T>, limitMs: number, signal: AbortSignal): Promise<T> {
  operation.catch(() => {}); // handled below, unless the wait ends before
  let timer: NodeJS.Timeout | undefined;
  let cancel = () => {};
  const end = new Promise<never>((_resolve, reject) => {
    const fail = () => reject(new WaitEndedError(`no answer within ${limitMs} ms`));
    timer = setTimeout(fail, limitMs);
    cancel = () => reject(new WaitEndedError("the sink is stopping"));
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
  });
  try {
    return await Promise.race([operation, end]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cancel);
  }
}
