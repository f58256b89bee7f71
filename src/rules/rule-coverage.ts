/**
 * Finds the parts of the rules that no rule test reaches. A part without a test can be wrong although every test passes.
 */

import { bindFilter } from "../match/bind-filter.ts";
import { fromJs } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter, FilterTemplate } from "../match/filter.ts";
import type { Claims } from "./claims.ts";
import type { Rule, RuleSet } from "./compile-rules.ts";
import { predicateText } from "./deciding-predicate.ts";
import { claimsToBson, whenText } from "./when-document.ts";

/** A rule that applies in no test, or a branch of `$or` in a rule that does. */
export interface Untested {
  /** The name that clients use. */
  readonly collection: string;
  readonly rule: string;
  /** The part of the rule that contains the branch; `null` if the whole rule is untested. */
  readonly part: "when" | "filter" | null;
  /** The branch as text, of at most `TEXT_MAX` characters; `null` if the whole rule is untested. */
  readonly branch: string | null;
}

/** A longer branch is cut. Its beginning identifies it in the file. */
const TEXT_MAX = 400;

/**
 * Collects the parts of one rule set that tests reach. A rule is reached if it applies in a test. A branch of `$or` is reached if
 * it holds for a user to whom the rule applies (`when`), or in a document that the rule shows (`filter`).
 */
export class RuleCoverage {
  readonly #rules: RuleSet;
  readonly #applied = new Set<Rule>();
  readonly #branches = new Set<FilterTemplate>();

  constructor(rules: RuleSet) {
    this.#rules = rules;
  }

  /** A rule applies to the user of a test. @param claims Those of the user; none for an anonymous user. */
  noteRule(rule: Rule, claims: Claims): void {
    this.#applied.add(rule);
    if (rule.when !== null && hasBranches(rule.when)) this.#reach(rule.when, rule.when, claimsToBson(claims));
  }

  /** A test names a document. @param filter That of the rule, with the claims of the test. */
  noteDocument(rule: Rule, filter: Filter, document: Uint8Array): void {
    if (hasBranches(filter) && compileFilter(filter)(document)) this.#reach(rule.filter, filter, document);
  }

  /** In the order of the file. */
  untested(): readonly Untested[] {
    return [...this.#rules.collections.values()].flatMap(({ name: collection, rules }) =>
      rules.flatMap((rule): Untested[] => {
        const about = { collection, rule: rule.name };
        if (!this.#applied.has(rule)) return [{ ...about, part: null, branch: null }];
        const [when, filter] = [this.#unreached(rule.when), this.#unreached(rule.filter)];
        return [
          ...when.map((branch) => ({
            ...about,
            part: "when" as const,
            branch: cut(whenText(textOf(branch))),
          })),
          ...filter.map((branch) => ({ ...about, part: "filter" as const, branch: cut(textOf(branch)) })),
        ];
      }),
    );
  }

  /** Notes the branches that hold. @param bound The template with the claims of a test: a tree of the same shape. */
  #reach(template: FilterTemplate, bound: Filter, document: Uint8Array): void {
    if (!isEntered(template) || !isEntered(bound)) return;
    for (const [index, inner] of bound.filters.entries()) {
      const branch = template.filters[index];
      if (branch === undefined) continue;
      if (template.op === "$or") {
        if (!compileFilter(inner)(document)) continue;
        this.#branches.add(branch);
      }
      this.#reach(branch, inner, document);
    }
  }

  /** The outermost branches that were not reached. */
  #unreached(template: FilterTemplate | null): FilterTemplate[] {
    if (template === null || !isEntered(template)) return [];
    return template.filters.flatMap((inner) =>
      template.op === "$or" && !this.#branches.has(inner) ? [inner] : this.#unreached(inner),
    );
  }
}

type Group<T extends FilterTemplate> = Exclude<T, { readonly op: "path" }>;

/** Whether branches in it count. A document matches because those of `$nor` do not hold. */
const isEntered = <T extends FilterTemplate>(filter: T): filter is Group<T> =>
  filter.op === "$and" || filter.op === "$or";

const hasBranches = (filter: FilterTemplate): boolean =>
  isEntered(filter) && (filter.op === "$or" || filter.filters.some(hasBranches));

/** A branch as JSON, with placeholders in their notation. */
function textOf(branch: FilterTemplate): string {
  const bound = bindFilter(branch, {
    one: ({ placeholder }) => fromJs(placeholder),
    many: ({ placeholder }) => [fromJs(placeholder)],
  });
  return predicateText(bound);
}

const cut = (text: string) => (text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX - 1)}…` : text);
