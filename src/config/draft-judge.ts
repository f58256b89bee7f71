import type { JudgedSet, TestedDraft } from "../admin/rule-set-questions.ts";
import type { RuleSetTerms } from "./rule-set.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/** A draft with its tests, and the settings with which both are judged. */
export interface DraftToJudge extends TestedDraft {
  readonly terms: RuleSetTerms;
  readonly anonymous: boolean;
  readonly nowMs: number;
}

/** Judges a draft as `judgeDraft` does, in a thread of its own, because parsing and testing a large one takes seconds. */
export async function judgeAside(draft: DraftToJudge, timeoutMs: number): Promise<JudgedSet> {
  try {
    const limit = { timeoutMs, option: "server.admin.planTimeout" };
    return (await runThread("draft-thread", draft, limit)) as JudgedSet; // as the thread sends it
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { problems: [{ line: 1, column: 1, path: "", message: error.message }] };
  }
}
