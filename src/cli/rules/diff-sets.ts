import { diffRules } from "../../rules/diff-rules.ts";
import { diffText } from "../plan-text.ts";
import { type At, loadSet, setInForce, sourceOf, withRuleSets } from "./rules-database.ts";

/**
 * `tidewire rules diff`: how one set differs from another.
 * @param to `null` for the set in force.
 */
export async function diffSets(from: number, to: number | null, asJson: boolean, at: At): Promise<number> {
  const { io } = at;
  return withRuleSets(at, async (database) => {
    const before = await loadSet(database, from);
    const after = to === null ? await setInForce(database) : await loadSet(database, to);
    const diff = diffRules(sourceOf(before, database.config), sourceOf(after, database.config));
    if (asJson) {
      io.out(JSON.stringify({ from: before.number, to: after.number, diff }, null, 2));
      return 0;
    }
    io.out(`from rule set ${before.number} to ${after.number}:\n${diffText(diff)}`);
    if (before.tests !== after.tests) io.out("the rule tests differ, too");
    return 0;
  });
}
