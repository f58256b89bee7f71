import type { JudgedSet } from "../admin/rule-set-questions.ts";
import type { DraftToJudge } from "./draft-task.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/** Judges a draft as `judgeDraft` does, in a thread of its own, because parsing and testing a large one takes seconds. */
export async function judgeAside(draft: DraftToJudge, timeoutMs: number): Promise<JudgedSet> {
  try {
    const limit = { timeoutMs, option: "server.admin.planTimeout" };
    return await runThread("judgeDraft", draft, limit);
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { problems: [{ line: 1, column: 1, path: "", message: error.message }] };
  }
}
