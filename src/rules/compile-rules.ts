/** Rules as written become rules that can be asked; everything that is wrong with them is found here, at load. */
import { createHash } from "node:crypto";
import { bindFilter } from "../match/bind-filter.ts";
import { fromJs } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter, FilterTemplate, Placeholder } from "../match/filter.ts";
import { parseFilter, parseFilterTemplate } from "../match/parse-filter.ts";
import { EVERYTHING, excludeProjection, includeProjection, isHiddenPath } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type Claims, lookupOf, NOW, PlaceholderRefused, readPlaceholder } from "./claims.ts";
import {
  type CollectionOptions,
  type FieldsOptions,
  type FilterLimits,
  type LookupOptions,
  type RuleOptions,
  RulesOptions,
} from "./options.ts";
import { placeholderFaults, type RulePart } from "./placeholder-faults.ts";
import { claimsToBson, whenPath } from "./when-document.ts";

/** Bounds of clients' requests that rules are asked with. */
export type RequestLimits = FilterLimits & { readonly windowSize: number };

/** One rule of a collection, compiled. */
export interface Rule {
  readonly name: string;
  /** Equal as long as the rule gives the same to the same users: a digest of it and of what it depends on. */
  readonly identity: string;
  readonly anonymous: boolean;
  /** Over the document of `claimsToBson`; `null` holds for everybody whom the rule serves at all. */
  readonly when: Filter | null;
  /** Whether `when` holds for claims; anonymous users have none. */
  readonly holds: (claims: Claims) => boolean;
  readonly filter: FilterTemplate;
  /** Whether what the rule gives depends on `%%now`, by its filter or by a lookup in it. */
  readonly usesNow: boolean;
  readonly projection: Projection;
  readonly allow: {
    readonly sort: readonly string[] | null;
    readonly maxLimit: number | null;
    readonly snapshot: boolean;
    readonly requireIndex: boolean;
  };
}

/** The rules of one collection, in the order of the file. */
export interface CollectionRules {
  /** As clients name it. */
  readonly name: string;
  readonly database: string;
  readonly collectionName: string;
  readonly lookups: ReadonlyMap<string, LookupTemplate>;
  readonly rules: readonly Rule[];
}

/** A lookup as the rules have it, without claims. */
export interface LookupTemplate {
  readonly database: string;
  readonly collectionName: string;
  readonly filter: FilterTemplate;
  readonly value: string;
}

/** All rules of a configuration, in force or not at all. */
export interface RuleSet {
  readonly collections: ReadonlyMap<string, CollectionRules>;
  readonly limits: RequestLimits;
  /** To what `%%now` is rounded down. */
  readonly nowStepMs: number;
}

/** Something wrong with a rule: where, from `collections` on, and what. */
export interface RuleProblem {
  readonly path: readonly (string | number)[];
  /** The location inside the filter at `path`, dotted as the filter's own keys are. */
  readonly at: string;
  readonly message: string;
}

/** Upper limits for rules. They are the admin's own, so the limits only catch accidents. */
const RULE_LIMITS = { maxDepth: 20, maxPredicates: 1_000, maxValues: 10_000 };

/** How long `compileRulesInTurns` works before it lets others go on. */
const TURN_MS = 10;

/** The parts of a configuration that rules are made of. */
export interface RulesSource {
  /** Unset: the defaults. */
  readonly rules?: RulesOptions;
  readonly mongodb: { readonly database: string };
  readonly collections: Readonly<Record<string, CollectionOptions>>;
  readonly limits: RequestLimits;
}

/** Rules with something wrong in them; none of them may be used. */
export class RulesRefused extends Error {
  override readonly name = "RulesRefused";
  readonly problems: readonly RuleProblem[];

  constructor(problems: readonly RuleProblem[]) {
    super(problems.map(({ path, message }) => `collections.${path.join(".")}: ${message}`).join("\n"));
    this.problems = problems;
  }
}

/**
 * Compiles the rules of all collections; a `Config` has passed this once already.
 * @throws {RulesRefused} With everything that is wrong.
 */
export function compileRules(source: RulesSource): RuleSet {
  const steps = compileSteps(source);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** As `compileRules`, in turns of some milliseconds between which everything else goes on. */
export async function compileRulesInTurns(source: RulesSource): Promise<RuleSet> {
  const steps = compileSteps(source);
  for (let turnEndsMs = performance.now() + TURN_MS; ; ) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() < turnEndsMs) continue;
    await new Promise(setImmediate);
    turnEndsMs = performance.now() + TURN_MS;
  }
}

/** Yields after each rule. */
function* compileSteps({
  mongodb,
  collections,
  limits,
  rules: evaluation,
}: RulesSource): Generator<undefined, RuleSet> {
  const { nowStepMs } = evaluation ?? RulesOptions.parse({});
  const problems: RuleProblem[] = [];
  const compiled = new Map<string, CollectionRules>();
  for (const [name, options] of Object.entries(collections)) {
    const database = options.database ?? mongodb.database;
    const names = new Set<string>();
    const lookups = compileLookups(options.lookups ?? {}, database, (path, message, at = "") =>
      problems.push({ path: [name, "lookups", ...path], at, message }),
    );
    const identities = identitiesOf(options, database);
    const rules: Rule[] = [];
    for (const [index, rule] of options.rules.entries()) {
      const report: Report = (path, message, at = "") =>
        problems.push({ path: [name, "rules", index, ...path], at, message });
      if (names.has(rule.name))
        report(["name"], `a second rule ${JSON.stringify(rule.name)}; names are unique`);
      names.add(rule.name);
      const { value: identity = "" } = identities.next();
      rules.push({ ...compileRule(rule, lookups, report), identity });
      yield;
    }
    compiled.set(name, { name, database, collectionName: options.collection ?? name, lookups, rules });
    yield;
  }
  if (problems.length > 0) throw new RulesRefused(problems);
  return { collections: compiled, limits, nowStepMs };
}

/**
 * Digests of the rules of a collection. A rule gives what it says of the collection and its lookups, to the users that
 * no rule before it applies to; its name does not matter. Each digest covers the rules before, so one running hash
 * serves all: hashing them again for each rule took seconds for some thousand rules.
 */
function* identitiesOf(
  { collection, lookups, rules }: CollectionOptions,
  database: string,
): Generator<string, undefined> {
  const text = (value: unknown) => JSON.stringify([value]).slice(1, -1);
  const head = [database, collection, lookups].map(text).join();
  const running = createHash("sha256").update(`[${head},[`);
  let separator = "";
  for (const rule of rules) {
    yield running
      .copy()
      .update(`],${text({ ...rule, name: undefined })}]`)
      .digest("base64url");
    running.update(separator + text([rule.anonymous, rule.when]));
    separator = ",";
  }
}

type Entries = Readonly<Record<string, unknown>>;
type Report = (path: readonly (string | number)[], message: string, at?: string) => void;

function compileLookups(
  lookups: Readonly<Record<string, LookupOptions>>,
  database: string,
  report: Report,
): Map<string, LookupTemplate> {
  return new Map(
    Object.entries(lookups).map(([name, options]) => [
      name,
      {
        database: options.database ?? database,
        collectionName: options.collection,
        filter: compileRuleFilter(options.filter, [], (path, message, at) =>
          report([name, ...path], message, at),
        ),
        value: options.value,
      },
    ]),
  );
}

function compileRule(
  rule: RuleOptions,
  lookups: ReadonlyMap<string, LookupTemplate>,
  report: Report,
): Omit<Rule, "identity"> {
  const when = rule.when === undefined ? null : compileWhen(rule.when, report);
  const test = when === null ? null : compileFilter(when);
  const projection = compileFields(rule.fields, report);
  const { sort = null, maxLimit = null, snapshot, requireIndex } = rule.allow;
  sort?.forEach((path, index) => {
    if (isHiddenPath(projection, path))
      report(["allow", "sort", index], `${path} is hidden by this rule's fields`);
  });
  const filter = compileRuleFilter(rule.filter ?? {}, [...lookups.keys()], report);
  return {
    name: rule.name,
    anonymous: rule.anonymous,
    when,
    holds: (claims) => test === null || test(claimsToBson(claims)),
    filter,
    usesNow: usesNow(filter, lookups),
    projection,
    allow: { sort, maxLimit, snapshot, requireIndex },
  };
}

/** Replaces a filter that could not be compiled. A rule set with a problem is never used. */
const NOTHING: Filter = { op: "$nor", filters: [{ op: "$and", filters: [] }] };

function compileWhen(input: Entries, report: Report): Filter {
  return compilePart("when", input, report, (onRefused) =>
    parseFilter(input, { regex: "subset", ...RULE_LIMITS, path: whenPath, onRefused }),
  );
}

function compileRuleFilter(input: Entries, lookups: readonly string[], report: Report): FilterTemplate {
  const placeholder = (text: string) => readPlaceholder(text, lookups);
  // The fault of a placeholder is reported already. The parser accepts it as a value here, so that it checks the rest too.
  const orAny = (text: string) => {
    try {
      return placeholder(text);
    } catch (error) {
      if (!(error instanceof PlaceholderRefused)) throw error;
      return { placeholder: text };
    }
  };
  const template = compilePart<FilterTemplate>(
    "filter",
    input,
    report,
    (onRefused, isFaulty) =>
      parseFilterTemplate(input, {
        regex: "subset",
        ...RULE_LIMITS,
        placeholder: isFaulty ? orAny : placeholder,
        onRefused,
      }),
    lookups,
  );
  const single = singleLookup(template);
  if (single !== null) {
    report(["filter"], `${single} is a list: it may only be the whole operand of $in, $nin or $all`);
  }
  return template;
}

/** A lookup used where one value is required. */
function singleLookup(template: FilterTemplate): string | null {
  const found = placeholdersOf(template).single.findLast((operand) => lookupOf(operand) !== undefined);
  return found?.placeholder ?? null;
}

function usesNow(template: FilterTemplate, lookups: ReadonlyMap<string, LookupTemplate>): boolean {
  const { single, lists } = placeholdersOf(template);
  if (single.some(({ placeholder }) => placeholder === NOW)) return true;
  const named = lists.flatMap((operand) => lookups.get(lookupOf(operand) ?? "") ?? []);
  return named.some(({ filter }) =>
    placeholdersOf(filter).single.some(({ placeholder }) => placeholder === NOW),
  );
}

/** The placeholders of a template, by whether one value or a list replaces them. */
function placeholdersOf(template: FilterTemplate): { single: Placeholder[]; lists: Placeholder[] } {
  const single: Placeholder[] = [];
  const lists: Placeholder[] = [];
  bindFilter(template, {
    one: (operand) => {
      single.push(operand);
      return fromJs(0);
    },
    many: (operand) => {
      lists.push(operand);
      return [];
    },
  });
  return { single, lists };
}

/** Whether a dotted location is another one or lies in it. */
const isWithin = (at: string, outer: string) => outer === "" || at === outer || at.startsWith(`${outer}.`);

function compilePart<T>(
  part: RulePart,
  input: Entries,
  report: Report,
  parse: (onRefused: (error: TidewireError) => void, isFaulty: boolean) => T,
  lookups: readonly string[] = [],
): T | Filter {
  const faults = placeholderFaults(input, part, lookups);
  for (const { at, message } of faults) report([part], message, at);
  let isRefused = faults.length > 0;
  const onRefused = (error: TidewireError) => {
    isRefused = true;
    const at = String(error.details["at"] ?? "");
    // The parser finds a misplaced claim as well, in other words.
    if (!faults.some((fault) => isWithin(at, fault.at) || isWithin(fault.at, at)))
      report([part], error.message, at);
  };
  try {
    const parsed = parse(onRefused, isRefused);
    return isRefused ? NOTHING : parsed;
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    onRefused(error);
    return NOTHING;
  }
}

function compileFields(fields: FieldsOptions | undefined, report: Report): Projection {
  if (fields === undefined) return EVERYTHING;
  const { include, exclude } = fields;
  const [key, paths] =
    include === undefined ? (["exclude", exclude ?? []] as const) : (["include", include] as const);
  try {
    return key === "include" ? includeProjection(paths) : excludeProjection(paths);
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    const index = paths.indexOf(String(error.details["path"]));
    report(["fields", key, ...(index < 0 ? [] : [index])], `${error.message}. Remove it`);
    return EVERYTHING;
  }
}
