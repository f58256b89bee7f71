/**
 * The content of rule sets in the database. A set has the collections of a configuration and nothing else of it, so it
 * is judged together with the configuration of the node that applies it.
 */
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import { type Config, deepFreeze } from "./config.ts";
import { RuleSetSchema } from "./config-schema.ts";
import { type ConfigProblem, type ConfigText, readConfigText } from "./config-text.ts";
import { crossProblems } from "./cross-problems.ts";
import { inFileOrder, reporter, reportRules, sectionOf } from "./examine.ts";
import { toCodeForm } from "./file-form.ts";
import { fileIssues } from "./issue-text.ts";
import { withPresencePlaced } from "./namespaces.ts";
import { COLLECTIONS_KEY } from "./rule-set-text.ts";

/** The parts of a configuration with which a rule set is judged. None of them is secret. */
export type RuleSetTerms = {
  readonly mongodb: Pick<Config["mongodb"], "database" | "stateDatabase">;
  readonly limits: Config["limits"];
  readonly rules: Config["rules"];
  readonly presence: Config["presence"];
};

/** The collections of a set that is valid, or everything that is wrong with it. */
export type ReadRuleSet =
  | { readonly ok: true; readonly collections: Config["collections"] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** The terms of a configuration, without the rest. */
export const termsOf = ({
  mongodb: { database, stateDatabase },
  limits,
  rules,
  presence,
}: Config): RuleSetTerms => ({ mongodb: { database, stateDatabase }, limits, rules, presence });

/**
 * Reads the collections of a saved set, as a node does.
 * @param text The value of `collections`, as YAML.
 * @param name The name of the set in problems.
 */
export function readRuleSet(text: string, name: string, terms: RuleSetTerms): ReadRuleSet {
  // The environment was filled in when the set was made: all nodes must read the same rules.
  return readCollections(readConfigText(ruleSetText(text), name, {}), terms);
}

/** The section `collections` of a file, with the collections of a saved set. */
export const ruleSetText = (collections: string): string => COLLECTIONS_KEY + indented(collections);

/** The parts of a text that a rule set is made of; the empty path is the text as a whole. */
const SET_PATH = /^(?:$|(?:parent|collections|now|given|tests)\b)/;

/** Reads the collections of a text, and nothing else of it. */
export function readCollections(source: ConfigText, terms: RuleSetTerms): ReadRuleSet {
  // Other sections of a configuration may name variables that are not set here.
  const problems: ConfigProblem[] = source.problems.filter(({ path }) => SET_PATH.test(path));
  const refused = () => ({ ok: false, problems: inFileOrder(problems) }) as const;
  if (problems.length > 0) return refused();
  const report = reporter(source, problems);
  const written = sectionOf(source.value, "collections");
  const whole = written === undefined ? {} : { collections: written };
  const codeForm = toCodeForm(RuleSetSchema, whole, source, report);
  const parsed = parseUntrusted(RuleSetSchema, codeForm, { error: (issue) => issue.code });
  if (!parsed.success) {
    for (const { path, message } of fileIssues(RuleSetSchema, parsed.error, source)) report(path, message);
    return refused();
  }
  const { collections } = parsed.data;
  for (const { path, message } of crossProblems({ ...terms, collections, sinks: {} })) report(path, message);
  reportRules({ ...terms, collections }, source, report);
  if (problems.length > 0) return refused();
  return { ok: true, collections: withPresencePlaced({ ...terms, collections }).collections };
}

const indented = (text: string) =>
  text
    .split("\n")
    .map((line) => (line === "" ? line : `  ${line}`))
    .join("\n");

/** A configuration with the collections of a rule set. */
export const withCollections = (config: Config, collections: Config["collections"]): Config =>
  Object.freeze({ ...config, collections: deepFreeze(collections) });
