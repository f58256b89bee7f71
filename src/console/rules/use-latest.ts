import { useEffect, useRef, useState } from "react";
import { ApiFailure } from "../api/failures.ts";

/** The node takes one draft at a time, so that another admin may be first. */
const BUSY_RETRY_MS = 500;
const FAILED_RETRY_MS = 2_000;

/** The answer of the node about a text that is being edited. */
export interface Latest<A> {
  /** The latest answer, while the next one is pending, too; `null` if there is none. */
  readonly value: A | null;
  readonly error: unknown;
  /** Whether the node has not answered for the text as it is now. */
  readonly isPending: boolean;
}

/**
 * Asks the node after each pause in typing, and again after a failure.
 * @param key Another key is another question; `null` asks nothing.
 * @param ask Asks the question of the present key.
 */
export function useLatest<A>(
  key: string | null,
  ask: (signal: AbortSignal) => Promise<A>,
  pauseMs: number,
): Latest<A> {
  const [latest, setLatest] = useState<{ key: string; value: A | null; error: unknown } | null>(null);
  const [attempt, setAttempt] = useState(0);
  const asked = useRef(ask);
  asked.current = ask;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new attempt repeats the question.
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    const retry = () => setAttempt((before) => before + 1);
    let retryTimer: ReturnType<typeof setTimeout> | undefined;
    const onError = (error: unknown) => {
      if (abort.signal.aborted) return;
      const isBusy = error instanceof ApiFailure && error.code === "busy";
      if (!isBusy) setLatest({ key, value: null, error });
      retryTimer = setTimeout(retry, isBusy ? BUSY_RETRY_MS : FAILED_RETRY_MS);
    };
    const begin = () =>
      void asked.current(abort.signal).then((value) => setLatest({ key, value, error: null }), onError);
    const timer = setTimeout(begin, pauseMs);
    return () => {
      clearTimeout(timer);
      clearTimeout(retryTimer);
      abort.abort();
    };
  }, [key, pauseMs, attempt]);
  if (key === null) return { value: null, error: null, isPending: false };
  return { value: latest?.value ?? null, error: latest?.error ?? null, isPending: latest?.key !== key };
}
