import type { RulesDiff } from "../rules/diff-rules.ts";
import type { RuleSetTerms } from "./rule-set.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/** The collections of a saved set, as text. */
interface SetText {
  readonly number: number;
  readonly collections: string;
}

/** Two sets, and the configuration with which they are read. */
export interface SetsToCompare {
  readonly from: SetText;
  readonly to: SetText;
  readonly terms: RuleSetTerms;
}

/** How one set differs from another, or why this version cannot say so. */
export type SetsDiff = { readonly diff: RulesDiff } | { readonly unreadable: string };

/** Compares two saved sets in a thread of its own, because reading and comparing large ones takes seconds. */
export async function diffSetsAside(sets: SetsToCompare, timeoutMs: number): Promise<SetsDiff> {
  try {
    const limit = { timeoutMs, option: "server.admin.planTimeout" };
    return (await runThread("sets-diff-thread", sets, limit)) as SetsDiff; // as the thread sends it
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { unreadable: error.message };
  }
}
