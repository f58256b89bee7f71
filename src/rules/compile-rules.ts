/**
 * Compiles the rules of the configuration. Every fault is found here, when the configuration is loaded: a rule that
 * failed only when a certain user asks would fail in production.
 */
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter, FilterTemplate } from "../match/filter.ts";
import { parseFilter, parseFilterTemplate } from "../match/parse-filter.ts";
import {
  EVERYTHING,
  excludeProjection,
  includeProjection,
  intersectProjections,
  isHiddenPath,
} from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type Claims, PlaceholderRefused, readPlaceholder } from "./claims.ts";
import {
  type CollectionOptions,
  type FieldsOptions,
  type FilterLimits,
  type LookupOptions,
  RuleOptions,
  RulesOptions,
} from "./options.ts";
import { placeholderFaults, type RulePart } from "./placeholder-faults.ts";
import { PRESENCE, type PresenceRuleOptions, type PresenceRules } from "./presence-options.ts";
import { ruleIdentities } from "./rule-identities.ts";
import { singleLookup, usesNow } from "./template-placeholders.ts";
import { claimsToBson, whenPath } from "./when-document.ts";

/** The limits of clients' requests. */
export type RequestLimits = FilterLimits & { readonly windowSize: number };

/** One rule of a collection, compiled. */
export interface Rule {
  readonly name: string;
  /**
   * A digest of the rule and of everything on which its meaning depends. It is equal as long as the rule grants the
   * same to the same users.
   */
  readonly identity: string;
  readonly anonymous: boolean;
  /** Tests the document of `claimsToBson`; `null` if the rule has no condition. */
  readonly when: Filter | null;
  /** Whether `when` holds for claims. Anonymous clients have none. */
  readonly holds: (claims: Claims) => boolean;
  readonly filter: FilterTemplate;
  /** Whether the granted documents depend on `%%now`, by the filter or by a lookup in it. */
  readonly usesNow: boolean;
  readonly projection: Projection;
  readonly allow: {
    readonly sort: readonly string[] | null;
    readonly maxLimit: number | null;
    readonly snapshot: boolean;
    readonly aggregate: boolean;
    readonly documents: boolean;
    readonly requireIndex: boolean;
  };
}

/** The rules of one collection, in the order of the file. */
export interface CollectionRules {
  /** The name that clients use. */
  readonly name: string;
  readonly database: string;
  readonly collectionName: string;
  readonly lookups: ReadonlyMap<string, LookupTemplate>;
  readonly rules: readonly Rule[];
}

/** A lookup of the rules, without claims. */
export interface LookupTemplate {
  readonly database: string;
  readonly collectionName: string;
  readonly filter: FilterTemplate;
  readonly value: string;
}

/** The part `allow` of a rule of presence. */
export type PresenceAllowance = PresenceRuleOptions["allow"];

/** The rules of presence. They have the form of the rules of a collection whose documents are the entries. */
export interface CompiledPresence {
  readonly entries: CollectionRules;
  readonly allowances: ReadonlyMap<Rule, PresenceAllowance>;
}

/** All rules of a configuration. They are replaced together or not at all. */
export interface RuleSet {
  readonly collections: ReadonlyMap<string, CollectionRules>;
  /** Absent if there is no presence. */
  readonly presence?: CompiledPresence;
  readonly limits: RequestLimits;
  /** The step to which `%%now` is rounded down, in milliseconds. */
  readonly nowStepMs: number;
  /** The rules that these are a part of: those of one database. Absent for the rules of a configuration. */
  readonly partOf?: RuleSet;
}

/** A fault of a rule: its location, from `collections` on, and a text. */
export interface RuleProblem {
  readonly path: readonly (string | number)[];
  /** The location inside the filter at `path`, as dotted keys. */
  readonly at: string;
  readonly message: string;
  /** The section of `path`. Default: `collections`. */
  readonly section?: "presence";
}

/** Upper limits for rules. The admin writes the rules, so these limits only catch accidents. */
const RULE_LIMITS = { maxDepth: 20, maxPredicates: 1_000, maxValues: 10_000 };

/** How long `compileRulesInTurns` works before other work runs, in milliseconds. */
const TURN_MS = 10;

/** The parts of a configuration from which rules are made. */
export interface RulesSource {
  /** If unset, the defaults apply. */
  readonly rules?: Pick<RulesOptions, "nowStepMs">;
  readonly mongodb: { readonly database: string };
  readonly collections: Readonly<Record<string, CollectionOptions>>;
  readonly limits: RequestLimits;
  readonly presence?: PresenceRules | undefined;
}

/** Rules with faults. None of them may be used. */
export class RulesRefused extends Error {
  override readonly name = "RulesRefused";
  readonly problems: readonly RuleProblem[];

  constructor(problems: readonly RuleProblem[]) {
    super(
      problems
        .map(({ path, message, section = "collections" }) => `${section}.${path.join(".")}: ${message}`)
        .join("\n"),
    );
    this.problems = problems;
  }
}

/**
 * Compiles the rules of all collections. A `Config` has passed this once already.
 * @throws {RulesRefused} It contains every fault.
 */
export function compileRules(source: RulesSource): RuleSet {
  const steps = compileSteps(source);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Like `compileRules`, in turns of a few milliseconds, between which other work runs. */
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
  presence: entering,
}: RulesSource): Generator<undefined, RuleSet> {
  const { nowStepMs } = evaluation ?? RulesOptions.parse({});
  const problems: RuleProblem[] = [];
  const compiled = new Map<string, CollectionRules>();
  for (const [name, options] of Object.entries(collections)) {
    const database = options.database ?? mongodb.database;
    const collectionName = options.collection ?? name;
    const names = new Set<string>();
    const lookups = compileLookups(options.lookups ?? {}, database, (path, message, at = "") =>
      problems.push({ path: [name, "lookups", ...path], at, message }),
    );
    const identities = ruleIdentities(options, database, collectionName);
    const rules: Rule[] = [];
    // The service keeps fields of its own in the entries.
    const hidden = entering !== undefined && name === PRESENCE ? OWN_FIELDS : EVERYTHING;
    for (const [index, rule] of options.rules.entries()) {
      const report: Report = (path, message, at = "") =>
        problems.push({ path: [name, "rules", index, ...path], at, message });
      if (names.has(rule.name))
        report(["name"], `a second rule ${JSON.stringify(rule.name)}; names are unique`);
      names.add(rule.name);
      const { value: identity = "" } = identities.next();
      rules.push({ ...compileRule(rule, lookups, report, hidden), identity });
      yield;
    }
    compiled.set(name, { name, database, collectionName, lookups, rules });
    yield;
  }
  const presence = entering === undefined ? undefined : compilePresence(entering, mongodb.database, problems);
  if (problems.length > 0) throw new RulesRefused(problems);
  return { collections: compiled, limits, nowStepMs, ...(presence === undefined ? {} : { presence }) };
}

/** The fields of an entry that nobody outside of the service ever sees, whatever the rules say. */
export const OWN_FIELDS = excludeProjection(["node"]);

function compilePresence(
  options: PresenceRules,
  database: string,
  problems: RuleProblem[],
): CompiledPresence {
  const report =
    (...before: (string | number)[]): Report =>
    (path, message, at = "") =>
      problems.push({ path: [...before, ...path], at, message, section: "presence" });
  const lookups = compileLookups(options.lookups ?? {}, database, report("lookups"));
  const names = new Set<string>();
  const allowances = new Map<Rule, PresenceAllowance>();
  for (const [index, { allow, ...written }] of options.rules.entries()) {
    const reportRule = report("rules", index);
    if (names.has(written.name))
      reportRule(["name"], `a second rule ${JSON.stringify(written.name)}; names are unique`);
    names.add(written.name);
    const rule = compileRule(RuleOptions.parse(written), lookups, reportRule, EVERYTHING);
    allowances.set({ ...rule, identity: "" }, allow);
  }
  const entries = {
    name: PRESENCE,
    database,
    collectionName: PRESENCE,
    lookups,
    rules: [...allowances.keys()],
  };
  return { entries, allowances };
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
  hidden: Projection,
): Omit<Rule, "identity"> {
  const when = rule.when === undefined ? null : compileWhen(rule.when, report);
  const test = when === null ? null : compileFilter(when);
  const shown = compileFields(rule.fields, report);
  const projection = hidden === EVERYTHING ? shown : intersectProjections(shown, hidden);
  // The defaults are not in the schema: a digest of the rule must not change with a version that brings a new option.
  const {
    sort = null,
    maxLimit = null,
    snapshot,
    aggregate = true,
    documents = true,
    requireIndex,
  } = rule.allow;
  if (!aggregate && !documents)
    report(
      ["allow", "documents"],
      "with aggregate: false as well, this rule allows nothing: remove one of them",
    );
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
    allow: { sort, maxLimit, snapshot, aggregate, documents, requireIndex },
  };
}

/** Replaces a filter that could not be compiled. A rule set with a fault is never used. */
const NOTHING: Filter = { op: "$nor", filters: [{ op: "$and", filters: [] }] };

function compileWhen(input: Entries, report: Report): Filter {
  return compilePart("when", input, report, (onRefused) =>
    parseFilter(input, { regex: "subset", ...RULE_LIMITS, path: whenPath, onRefused }),
  );
}

/**
 * Compiles a filter over claims that belongs to no rule, written as the `when` of a rule.
 * @returns The test, or the faults of the filter.
 */
export function compileClaimsFilter(input: Entries): ((claims: Claims) => boolean) | string {
  const faults: string[] = [];
  const filter = compileWhen(input, (_path, message) => faults.push(message));
  if (faults.length > 0) return faults.join("; ");
  const test = compileFilter(filter);
  return (claims) => test(claimsToBson(claims));
}

function compileRuleFilter(input: Entries, lookups: readonly string[], report: Report): FilterTemplate {
  const placeholder = (text: string) => readPlaceholder(text, lookups);
  // The fault of the placeholder was reported already. The parser accepts it as a value here, so that it also checks
  // the rest.
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

/** Whether a dotted location equals another one or is inside it. */
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
    // The parser reports a misplaced claim as well, in other words. One report is enough.
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
