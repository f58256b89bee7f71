/** The program of the thread that compares two sets for `diffSetsAside`. */
import { parentPort, workerData } from "node:worker_threads";
import { diffRules } from "../rules/diff-rules.ts";
import { formatProblem } from "./config.ts";
import type { ConfigProblem } from "./config-text.ts";
import { readRuleSet } from "./rule-set.ts";
import type { SetsDiff, SetsToCompare } from "./sets-diff.ts";

function compare({ from, to, terms }: SetsToCompare): SetsDiff {
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

// `diffSetsAside` starts the thread with exactly this data.
parentPort?.postMessage(compare(workerData as SetsToCompare));
