/** The program of the thread that judges a draft for `judgeAside`. */
import { parentPort, workerData } from "node:worker_threads";
import type { JudgedSet } from "../admin/rule-set-questions.ts";
import type { DraftToJudge } from "./draft-judge.ts";
import { judgeDraft } from "./rule-set-draft.ts";

/** An admin reads no more problems, failures or untested parts at once. */
const SHOWN_MAX = 100;

function judge({ text, tests, terms, anonymous, nowMs }: DraftToJudge): JudgedSet {
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

// `judgeAside` starts the thread with exactly this data.
parentPort?.postMessage(judge(workerData as DraftToJudge));
