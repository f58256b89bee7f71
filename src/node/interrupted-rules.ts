import type { SavedRuleSet } from "../source/rule-set-store.ts";

/** The sets from which the question is answered. */
interface KnownSets {
  /** A set; `null` if it is no longer kept. */
  load(number: number): Promise<SavedRuleSet | null>;
  /** The identities of its rules; `null` if this node cannot compile it. */
  identities(set: SavedRuleSet): Promise<ReadonlySet<string> | null>;
}

/**
 * Finds the rules of a set that were not in force for a while before it: an earlier set lacks them. A ticket from
 * before must not resume across that time. If an earlier set cannot be read, all rules whose past depends on it count
 * as interrupted, because rights fail closed.
 * @param lastKnown The latest set that is known to have contained a rule; 0 if none is.
 */
export async function interruptedRules(
  set: SavedRuleSet,
  identities: Iterable<string>,
  lastKnown: (identity: string) => number,
  sets: KnownSets,
): Promise<ReadonlySet<string>> {
  const interrupted = new Set<string>();
  const open = new Set([...identities].filter((identity) => lastKnown(identity) < set.number));
  const close = (isDone: (identity: string) => boolean, result?: Set<string>) => {
    for (const identity of open) {
      if (!isDone(identity)) continue;
      open.delete(identity);
      result?.add(identity);
    }
  };
  for (let number = set.parent; number !== 0; ) {
    close((identity) => lastKnown(identity) >= number);
    if (open.size === 0) break;
    const earlier = await sets.load(number);
    const known = earlier === null ? null : await sets.identities(earlier);
    close((identity) => known?.has(identity) !== true, interrupted);
    if (earlier === null) break;
    number = earlier.parent;
  }
  return interrupted;
}
