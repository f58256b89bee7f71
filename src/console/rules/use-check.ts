import { useDeferredValue, useMemo } from "react";
import { useSession } from "../shell/session.ts";
import type { Plan, Problem } from "./problem.ts";
import { useLatest } from "./use-latest.ts";
import { checkYaml } from "./yaml-check.ts";

/** A pause in typing that begins a check by the node. */
const PAUSE_MS = 150;

/** The rules that a draft is compared with. */
interface Checked {
  /** Whether only the collections of the draft count, because the rules are in the database. */
  readonly isRuleSet: boolean;
  /** The set in force. With another one, the same draft has another effect. */
  readonly inForce: number;
}

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

/**
 * Checks a draft while it is being edited: in the page at once, and by the node after a short pause.
 */
export function useCheck(text: string, { isRuleSet, inForce }: Checked): Check {
  const { api, roles } = useSession();
  const { value, error, isPending } = useLatest(
    roles.has("edit") ? `${inForce}\n${text}` : null,
    (signal) => api.call("plan", text, { signal }),
    PAUSE_MS,
  );
  // The key that was typed appears first, because the check of a large text takes longer than a frame.
  const shown = useDeferredValue(text);
  const ownProblems = useMemo(() => checkYaml(shown, isRuleSet), [shown, isRuleSet]);
  const isChecked = !isPending && value !== null;
  const problems = value !== null && "problems" in value ? value.problems : [];
  return {
    problems: isChecked ? problems : ownProblems,
    plan: value === null || "problems" in value ? null : value,
    isPending,
    error,
  };
}
