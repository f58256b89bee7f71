import type { EditProblems } from "../admin/plan-edit.ts";
import type { RulesSource } from "../rules/compile-rules.ts";
import type { RulesDiff } from "../rules/diff-rules.ts";
import type { Replay } from "../rules/replay-requests.ts";
import type { RuleSetTerms } from "./rule-set.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/** An edit as text, and the rules with which it is compared. */
export interface EditToRead {
  readonly text: string;
  readonly inForce: RulesSource;
  /**
   * The configuration of the node, if the rules are in the database. A rule set consists of the collections alone, so
   * that the rest of the text is ignored. `null` if the text is a configuration that would replace the file.
   */
  readonly terms: RuleSetTerms | null;
  /** Recorded requests that are replayed under both, each as JSON; `null` for none. */
  readonly recorded: { readonly texts: readonly string[]; readonly nowMs: number } | null;
}

/** The rules of an edit and how they differ from those in force, or everything that is wrong with it. */
export type ReadEdit =
  | { readonly source: RulesSource; readonly diff: RulesDiff; readonly replay: Replay | null }
  | EditProblems;

/**
 * Reads the text of an edit in a thread of its own, because parsing, checking and comparing it takes seconds for a
 * large one, and clients would wait.
 */
export async function readEdit(edit: EditToRead, timeoutMs: number): Promise<ReadEdit> {
  try {
    const option = "server.admin.planTimeout";
    return (await runThread("edit-thread", edit, { timeoutMs, option })) as ReadEdit; // as the thread sends it
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { problems: [{ line: 1, column: 1, path: "", message: error.message }] };
  }
}
