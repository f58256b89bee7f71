import { useDeferredValue, useEffect, useMemo, useState } from "react";
import { ApiFailure } from "../api/failures.ts";
import { useSession } from "../shell/session.ts";
import type { Plan, Problem } from "./problem.ts";
import { checkYaml } from "./yaml-check.ts";

/** A pause in typing that begins a check by the node. */
const PAUSE_MS = 150;
/** The node plans one edit at a time, so that another admin may be first. */
const BUSY_RETRY_MS = 500;

/** The state of a draft. */
export interface Check {
  /** By the node, or by the page until the node has answered. */
  readonly problems: readonly Problem[];
  /** The latest plan that was computed; `null` if there was none yet, or the draft has mistakes. */
  readonly plan: Plan | null;
  /** Whether the node has not checked the text as it is now. */
  readonly isPending: boolean;
  /** The check failed. */
  readonly error: unknown;
}

/** The answer of the node about one text. */
interface Checked {
  readonly text: string;
  readonly problems: readonly Problem[];
  readonly plan: Plan | null;
  readonly error: unknown;
}

/** Checks a draft while it is being edited: in the page at once, and by the node after a short pause. */
export function useCheck(text: string): Check {
  const { api } = useSession();
  const [checked, setChecked] = useState<Checked | null>(null);
  const [attempt, setAttempt] = useState(0);
  // The key that was typed appears first, because the check of a large text takes longer than a frame.
  const shown = useDeferredValue(text);
  const ownProblems = useMemo(() => checkYaml(shown), [shown]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new attempt repeats the request for the same text.
  useEffect(() => {
    const abort = new AbortController();
    const retry = () => setAttempt((before) => before + 1);
    let retryTimer: ReturnType<typeof setTimeout> | undefined;
    const timer = setTimeout(() => {
      api.call("plan", text, { signal: abort.signal }).then(
        (answer) => {
          if ("problems" in answer) setChecked({ text, problems: answer.problems, plan: null, error: null });
          else setChecked({ text, problems: [], plan: answer, error: null });
        },
        (error: unknown) => {
          if (abort.signal.aborted) return;
          const isBusy = error instanceof ApiFailure && error.code === "busy";
          if (!isBusy) setChecked({ text, problems: [], plan: null, error });
          retryTimer = setTimeout(retry, isBusy ? BUSY_RETRY_MS : 4 * BUSY_RETRY_MS);
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      clearTimeout(retryTimer);
      abort.abort();
    };
  }, [api, text, attempt]);
  const isPending = checked === null || checked.text !== text;
  const isUnknown = isPending || checked.error !== null;
  return {
    problems: isUnknown ? ownProblems : checked.problems,
    plan: checked?.plan ?? null,
    isPending,
    error: checked?.error ?? null,
  };
}
