import { useEffect, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { isFinal } from "../api/failures.ts";
import { useSession } from "../shell/session.ts";
import { type Entry, mergeEntries } from "./entries.ts";

const POLL_MS = 1_000;

/** A trace as far as it was read. */
export interface FollowedTrace {
  readonly id: string;
  /** The latest answer; `null` before the first. */
  readonly answer: AnswerOf<"readTrace"> | null;
  /** The latest first. */
  readonly entries: readonly Entry[];
  readonly error: unknown;
  readonly answeredAtMs: number;
}

const begun = (id: string): FollowedTrace => ({
  id,
  answer: null,
  entries: [],
  error: null,
  answeredAtMs: 0,
});

/** Reads a trace until it has ended. */
export function useTrace(id: string): FollowedTrace {
  const { api } = useSession();
  const [trace, setTrace] = useState(begun(id));
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let after: string | undefined;
    const read = async () => {
      let pauseMs = POLL_MS;
      try {
        const answer = await api.call("readTrace", { id, after }, { signal: abort.signal });
        after = answer.next;
        setTrace((before) => {
          const entries = mergeEntries(before.id === id ? before.entries : [], answer.entries);
          return { id, answer, entries, error: null, answeredAtMs: Date.now() };
        });
        if (answer.hasMore) pauseMs = 0;
        else if (answer.ended !== null) return;
      } catch (error) {
        if (abort.signal.aborted) return;
        setTrace((before) => ({ ...(before.id === id ? before : begun(id)), error }));
        if (isFinal(error)) return;
      }
      timer = setTimeout(() => void read(), pauseMs);
    };
    void read();
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [api, id]);
  return trace.id === id ? trace : begun(id);
}
