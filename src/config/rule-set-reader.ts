import { type ReadRuleSet, readRuleSet } from "./rule-set.ts";
import type { RuleSetToRead } from "./rules-thread.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

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
    return await runThread("readSet", { text, name, terms }, limit);
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return {
      ok: false,
      problems: [{ file: name, line: 1, column: 1, path: "", message: error.message }],
    };
  }
}
