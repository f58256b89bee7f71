/** The task of a thread that judges a draft for `judgeAside`. */
import type { JudgedSet, TestedDraft } from "../admin/rule-set-questions.ts";
import type { RuleSetTerms } from "./rule-set.ts";
import { judgeDraft } from "./rule-set-draft.ts";

/** A draft with its tests, and the settings with which both are judged. */
export interface DraftToJudge extends TestedDraft {
  readonly terms: RuleSetTerms;
  readonly anonymous: boolean;
  readonly nowMs: number;
}

/** An admin reads no more problems, failures or untested parts at once. */
const SHOWN_MAX = 100;

/** Checks a draft and runs its tests. */
export function judgeText({ text, tests, terms, anonymous, nowMs }: DraftToJudge): JudgedSet {
  const files = tests === null ? [] : [{ file: "tests", text: tests }];
  // The thread has no environment. Otherwise the answer could reveal the values of variables.
  const judged = judgeDraft({ file: "draft", text }, files, { terms, anonymous, env: {}, nowMs });
  if (!judged.ok) return { problems: judged.problems.slice(0, SHOWN_MAX).map(({ file: _, ...at }) => at) };
  const { draft } = judged;
  return {
    text: draft.text,
    outcome: {
      tests: draft.tests,
      failed: draft.failed,
      failures: draft.failures.slice(0, SHOWN_MAX).map(({ failure, source }) => {
        const { test: name, collection, expected, found, because } = failure;
        const { line, column, path } = source.problem(failure.path, "");
        return { line, column, path, test: name, collection, expected, found, because };
      }),
      untested: draft.untested.slice(0, SHOWN_MAX),
    },
  };
}
