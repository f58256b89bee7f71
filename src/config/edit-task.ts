/** The task of a thread that reads an edit for `readEdit`. */
import type { EditProblems } from "../admin/plan-edit.ts";
import { compileRules, type RulesSource } from "../rules/compile-rules.ts";
import { diffRules, type RulesDiff } from "../rules/diff-rules.ts";
import { parseRecorded, type Replay, replayRequests } from "../rules/replay-requests.ts";
import { ConfigError } from "./config.ts";
import { type ConfigProblem, readConfigText } from "./config-text.ts";
import { readRules } from "./load-rules.ts";
import { type RuleSetTerms, readCollections } from "./rule-set.ts";

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

/** An admin reads no more problems at once. A text that is not YAML may have one in each line. */
const PROBLEMS_MAX = 100;

/** Reads the text of an edit, and replays recorded requests under it. */
export async function readEditText(edit: EditToRead): Promise<ReadEdit> {
  const source = sourceOf(edit);
  if (Array.isArray(source))
    return { problems: source.slice(0, PROBLEMS_MAX).map(({ file: _, ...problem }) => problem) };
  return { source, diff: diffRules(edit.inForce, source), replay: await replay(edit, source) };
}

/** The rules of the text, or its problems. The thread has no environment. Otherwise problems could reveal its values. */
function sourceOf({ text, inForce, terms }: EditToRead): RulesSource | ConfigProblem[] {
  if (terms !== null) {
    const read = readCollections(readConfigText(text, "edit", {}), terms);
    return read.ok ? { ...inForce, collections: read.collections } : [...read.problems];
  }
  try {
    return readRules(text, "edit", {}).source;
  } catch (error) {
    if (error instanceof ConfigError) return [...error.problems];
    throw error;
  }
}

async function replay({ inForce, recorded }: EditToRead, source: RulesSource): Promise<Replay | null> {
  if (recorded === null) return null;
  const { texts, nowMs } = recorded;
  return replayRequests(parseRecorded(texts), compileRules(inForce), compileRules(source), nowMs);
}
