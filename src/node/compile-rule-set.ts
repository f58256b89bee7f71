import { type Config, formatProblem } from "../config/config.ts";
import { termsOf, withCollections } from "../config/rule-set.ts";
import { readRuleSetAside } from "../config/rule-set-reader.ts";
import { compileRulesInTurns, type RuleSet } from "../rules/compile-rules.ts";
import type { SavedRuleSet } from "../source/rule-set-store.ts";
import { StartupError } from "../source/startup-error.ts";
import type { AddedCollections } from "./reload.ts";

/** A rule set of the database that a node can put in force. */
export interface CompiledSet {
  readonly set: SavedRuleSet;
  /** The configuration of the node with the collections of the set. */
  readonly config: Config;
  readonly rules: RuleSet;
}

/** A set that can take effect now. */
export interface ReadySet extends CompiledSet {
  /** The collections that the rules in force do not have. */
  readonly added: AddedCollections;
  /** The rules that were not in force for a while before this set. */
  readonly interrupted: ReadonlySet<string>;
}

/** A set that cannot take effect on this node, and why. */
export interface Behind {
  readonly set: number;
  readonly problem: string;
}

/** An admin reads no more problems at once. */
const PROBLEMS_MAX = 20;

/**
 * Compiles a rule set while other work goes on.
 * @throws {StartupError} The set is not valid on this node. The text names every problem.
 */
export async function compileRuleSet(set: SavedRuleSet, config: Config): Promise<CompiledSet> {
  const name = `rule set ${set.number}`;
  const read = await readRuleSetAside(
    { text: set.collections, name, terms: termsOf(config) },
    config.rules.applyTimeoutMs,
  );
  if (!read.ok)
    throw new StartupError(
      `${name} is not valid on this node`,
      read.problems.slice(0, PROBLEMS_MAX).map(formatProblem),
    );
  const whole = withCollections(config, read.collections);
  return { set, config: whole, rules: await compileRulesInTurns(whole) };
}

/** The identities of the rules of a set. */
export const identitiesOf = ({ collections }: RuleSet): Set<string> =>
  new Set([...collections.values()].flatMap(({ rules }) => rules.map(({ identity }) => identity)));

/**
 * Reads the identities of the rules of earlier sets.
 * @returns A function whose answer is `null` for a set that this node cannot compile.
 */
export const identitiesUnder =
  (config: Config) =>
  (set: SavedRuleSet): Promise<ReadonlySet<string> | null> =>
    compileRuleSet(set, config).then(
      ({ rules }) => identitiesOf(rules),
      () => null,
    );
