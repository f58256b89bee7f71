/** The task of a thread that compares two sets for `diffSetsAside`. */
import { diffRules, type RulesDiff } from "../rules/diff-rules.ts";
import { formatProblem } from "./config.ts";
import type { ConfigProblem } from "./config-text.ts";
import { type RuleSetTerms, readRuleSet } from "./rule-set.ts";

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

/** Reads two saved sets, and compares them. */
export function compareSets({ from, to, terms }: SetsToCompare): SetsDiff {
  const read = ({ number, collections }: SetsToCompare["from"]) =>
    readRuleSet(collections, `rule set ${number}`, terms);
  const before = read(from);
  const after = read(to);
  if (!before.ok) return unreadable(before.problems);
  if (!after.ok) return unreadable(after.problems);
  return {
    diff: diffRules(
      { ...terms, collections: before.collections },
      { ...terms, collections: after.collections },
    ),
  };
}

const unreadable = ([first]: readonly ConfigProblem[]): SetsDiff => ({
  unreadable: first === undefined ? "it is not valid" : formatProblem(first),
});
