import { useCallback, useEffect, useState } from "react";
import type { AnswerOf, SentTo } from "../../admin/api/endpoints.ts";
import { isFinal } from "../api/failures.ts";
import type { Used } from "../api/routes.ts";
import { useSession } from "../shell/session.ts";

/** The latest answer of an endpoint. */
export interface Answered<T> {
  /** Kept while a later request fails. */
  readonly value: T | null;
  /** Of the latest request; `null` if it was answered. */
  readonly error: unknown;
  readonly answeredAtMs: number;
  readonly reload: () => void;
}

interface State<T> {
  readonly key: string;
  readonly value: T | null;
  readonly error: unknown;
  readonly answeredAtMs: number;
}

/** Requests an answer, and again at intervals after each answer. Another request forgets the answer before. */
export function useAnswer<O extends Used>(
  operation: O,
  fields: SentTo<O>,
  everyMs: number,
): Answered<AnswerOf<O>> {
  const { api } = useSession();
  const key = JSON.stringify([operation, fields]);
  const [state, setState] = useState<State<AnswerOf<O>>>({ key, value: null, error: null, answeredAtMs: 0 });
  const [attempt, setAttempt] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says whether the fields are others.
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      try {
        const value = await api.call(operation, fields, { signal: abort.signal });
        setState({ key, value, error: null, answeredAtMs: Date.now() });
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((before) => ({
          ...(before.key === key ? before : { value: null, answeredAtMs: 0 }),
          key,
          error,
        }));
        if (isFinal(error)) return;
      }
      timer = setTimeout(() => void ask(), everyMs);
    };
    void ask();
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [api, key, everyMs, attempt]);
  const reload = useCallback(() => setAttempt((before) => before + 1), []);
  if (state.key !== key) return { value: null, error: null, answeredAtMs: 0, reload };
  return { value: state.value, error: state.error, answeredAtMs: state.answeredAtMs, reload };
}
