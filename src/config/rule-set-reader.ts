import { type ReadRuleSet, type RuleSetTerms, readRuleSet } from "./rule-set.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/** A rule set as text, and the configuration with which it is judged. */
export interface RuleSetToRead {
  readonly text: string;
  /** The name of the set in problems. */
  readonly name: string;
  readonly terms: RuleSetTerms;
}

/** A smaller set is read in a few milliseconds, in less time than a thread needs to start. In characters. */
const THREAD_FROM = 32_768;

/** Reads a rule set as `readRuleSet` does, a large one in a thread of its own, so that clients need not wait. */
export async function readRuleSetAside(
  { text, name, terms }: RuleSetToRead,
  timeoutMs: number,
): Promise<ReadRuleSet> {
  if (text.length < THREAD_FROM) return readRuleSet(text, name, terms);
  try {
    const limit = { timeoutMs, option: "rules.applyTimeout" };
    return (await runThread("rule-set-thread", { text, name, terms }, limit)) as ReadRuleSet; // as the thread sends it
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return {
      ok: false,
      problems: [{ file: name, line: 1, column: 1, path: "", message: error.message }],
    };
  }
}
