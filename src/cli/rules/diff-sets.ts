import { diffRules, type RulesDiff } from "../../rules/diff-rules.ts";
import type { Io } from "../../terminal/io.ts";
import { diffText } from "../plan-text.ts";
import { type At, loadSet, setInForce, sourceOf, withRuleSets } from "./rules-database.ts";

/** Two sets and their differences. */
export interface ComparedSets {
  readonly from: number;
  readonly to: number;
  readonly diff: RulesDiff;
  readonly isSameTests: boolean;
}

/**
 * `tidewire rules diff`: how one set differs from another.
 * @param to `null` for the set in force.
 */
export async function diffSets(from: number, to: number | null, asJson: boolean, at: At): Promise<number> {
  return withRuleSets(at, async (database) => {
    const before = await loadSet(database, from);
    const after = to === null ? await setInForce(database) : await loadSet(database, to);
    const diff = diffRules(sourceOf(before, database.config), sourceOf(after, database.config));
    const isSameTests = before.tests === after.tests;
    return printDiff({ from: before.number, to: after.number, diff, isSameTests }, asJson, at.io);
  });
}

/** Prints the differences. @returns The exit code. */
export function printDiff({ from, to, diff, isSameTests }: ComparedSets, asJson: boolean, io: Io): number {
  if (asJson) {
    io.out(JSON.stringify({ from, to, diff }, null, 2));
    return 0;
  }
  io.out(`from rule set ${from} to ${to}:\n${diffText(diff)}`);
  if (!isSameTests) io.out("the rule tests differ, too");
  return 0;
}
