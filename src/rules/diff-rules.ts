/**
 * Describes the changes of an edit to the rules, part by part, for the admin who is about to save it. Each change has
 * an effect (more, fewer or other documents), because the text of a filter alone does not show which users gain or lose
 * access.
 */
import { Binary } from "mongodb";
import { bindFilter } from "../match/bind-filter.ts";
import { fromJs } from "../match/bson-value.ts";
import { canonicalFilter } from "../match/canonical-filter.ts";
import type { Filter, FilterTemplate } from "../match/filter.ts";
import { compareFilters, compareProjections, type Relation } from "../match/relation.ts";
import { lookupOf } from "./claims.ts";
import {
  type CollectionRules,
  compileRules,
  type LookupTemplate,
  type Rule,
  type RuleSet,
  type RulesSource,
} from "./compile-rules.ts";
import { describeProjection } from "./describe-projection.ts";
import type { RuleOptions } from "./options.ts";

/** One changed part. */
export interface PartDiff {
  /** In the notation of the file: `filter`, `allow.maxLimit`, `lookups.rooms`. */
  readonly part: string;
  /** The effect, in words. */
  readonly effect: string;
  /** The text of the rules; `null` if there was, or is, none. */
  readonly from: string | null;
  readonly to: string | null;
}

/** How one rule differs between two rule sets. */
export interface RuleDiff {
  readonly rule: string;
  readonly change: "added" | "removed" | "changed" | "renamed";
  /** Its old name, or its position among the rules. */
  readonly note: string | null;
  readonly parts: readonly PartDiff[];
}

/** How the rules of one collection differ between two rule sets. */
export interface CollectionDiff {
  readonly collection: string;
  readonly change: "added" | "removed" | "changed";
  readonly parts: readonly PartDiff[];
  readonly rules: readonly RuleDiff[];
}

/** How two rule sets differ. */
export interface RulesDiff {
  /** Changes of the limits by which requests are judged. */
  readonly limits: readonly PartDiff[];
  /** The collections that differ, in the order of the edited file, with removed ones last. */
  readonly collections: readonly CollectionDiff[];
}

/** Rules in their written and in their compiled form. */
interface Side {
  readonly source: RulesSource;
  readonly rules: RuleSet;
}

/** One rule of a side, with everything on which its meaning depends. */
interface Placed {
  readonly options: RuleOptions;
  readonly rule: Rule;
  /** Its filter, with opaque values for everything that is known only when a user asks. */
  readonly filter: Filter;
}

/**
 * Compares two sets of rules.
 * @throws {RulesRefused} One of them has faults.
 */
export function diffRules(from: RulesSource, to: RulesSource): RulesDiff {
  const before = { source: from, rules: compileRules(from) };
  const after = { source: to, rules: compileRules(to) };
  const names = new Set([...after.rules.collections.keys(), ...before.rules.collections.keys()]);
  const collections = [...names].map((name) => diffCollection(name, before, after));
  return {
    limits: [...diffLimits(from, to), ...diffNowStep(before, after)],
    collections: collections.filter((diff) => diff !== null),
  };
}

/** Whether nothing differs that could change what any user may see or request. */
export const isSameRules = ({ limits, collections }: RulesDiff) => limits.length + collections.length === 0;

function diffLimits(from: RulesSource, to: RulesSource): PartDiff[] {
  const names = [
    "filterDepth",
    "filterPredicates",
    "filterValues",
    "projectionNodes",
    "sortPaths",
    "windowSize",
  ] as const;
  return names.flatMap((name) => sizePart(`limits.${name}`, from.limits[name], to.limits[name]));
}

/** If the step differs, rules that use `%%now` give other filters. */
function diffNowStep(from: Side, to: Side): PartDiff[] {
  const [was, is] = [`${from.rules.nowStepMs}ms`, `${to.rules.nowStepMs}ms`];
  return was === is ? [] : [{ part: "rules.nowStep", effect: "other documents", from: was, to: is }];
}

function sizePart(part: string, from: number | undefined, to: number | undefined): PartDiff[] {
  if (from === to) return [];
  const isLess = (to ?? Number.POSITIVE_INFINITY) < (from ?? Number.POSITIVE_INFINITY);
  return [
    { part, effect: isLess ? "less may be asked" : "more may be asked", from: text(from), to: text(to) },
  ];
}

const text = (value: unknown) => (value === undefined ? null : JSON.stringify(value));

function diffCollection(name: string, before: Side, after: Side): CollectionDiff | null {
  const [was, is] = [before.rules.collections.get(name), after.rules.collections.get(name)];
  const rules = diffRuleLists(placedOf(name, before), placedOf(name, after));
  if (was === undefined) return { collection: name, change: "added", parts: [], rules };
  if (is === undefined) return { collection: name, change: "removed", parts: [], rules };
  const parts = [...placeParts(was, is), ...lookupParts(name, before, after), ...orderParts(was, is)];
  return parts.length + rules.length === 0 ? null : { collection: name, change: "changed", parts, rules };
}

function placedOf(name: string, { source, rules }: Side): Placed[] {
  const collection = rules.collections.get(name);
  const options = source.collections[name]?.rules ?? [];
  return (collection?.rules ?? []).flatMap((rule, index) => {
    const written = options[index];
    if (collection === undefined || written === undefined) return [];
    return [{ options: written, rule, filter: opaque(rule.filter, collection.lookups) }];
  });
}

function placeParts(was: CollectionRules, is: CollectionRules): PartDiff[] {
  const [from, to] = [placeOf(was), placeOf(is)];
  if (from === to) return [];
  return [{ part: "collection", effect: "other documents", from, to }];
}

function lookupParts(name: string, before: Side, after: Side): PartDiff[] {
  const [was, is] = [before, after].map(({ rules }) => rules.collections.get(name)?.lookups);
  const names = new Set([...(is?.keys() ?? []), ...(was?.keys() ?? [])]);
  return [...names].flatMap((lookup): PartDiff[] => {
    const [from, to] = [was?.get(lookup), is?.get(lookup)];
    const part = `lookups.${lookup}`;
    const texts = { from: lookupText(from, lookup, name, before), to: lookupText(to, lookup, name, after) };
    if (from === undefined || to === undefined) return [{ part, effect: from ? "removed" : "new", ...texts }];
    if (lookupIdentity(from) === lookupIdentity(to)) return [];
    const isSamePlace = from.value === to.value && placeOf(from) === placeOf(to);
    const relation = isSamePlace ? compareFilters(opaque(from.filter), opaque(to.filter)) : "other";
    return [{ part, effect: `${AMOUNT[relation]} values`, ...texts }];
  });
}

const placeOf = ({ database, collectionName }: CollectionRules | LookupTemplate) =>
  `${database}.${collectionName}`;

function lookupText(
  lookup: LookupTemplate | undefined,
  name: string,
  collection: string,
  { source }: Side,
): string | null {
  if (lookup === undefined) return null;
  const filter = source.collections[collection]?.lookups?.[name]?.filter;
  return `${lookup.value} of ${placeOf(lookup)} where ${JSON.stringify(filter)}`;
}

/** The first rule whose `when` holds applies, so the order of rules has a meaning as well. */
function orderParts(was: CollectionRules, is: CollectionRules): PartDiff[] {
  const common = ({ rules }: CollectionRules, others: CollectionRules) =>
    rules.map(({ name }) => name).filter((name) => others.rules.some((other) => other.name === name));
  const [from, to] = [common(was, is).join(", "), common(is, was).join(", ")];
  if (from === to) return [];
  return [{ part: "order", effect: "where several rules hold, another is the first", from, to }];
}

function diffRuleLists(before: readonly Placed[], after: readonly Placed[]): RuleDiff[] {
  const named = (list: readonly Placed[], name: string) => list.find(({ rule }) => rule.name === name);
  const gone = before.filter(({ rule }) => named(after, rule.name) === undefined);
  const diffs: RuleDiff[] = [];
  for (const [index, placed] of after.entries()) {
    const { name } = placed.rule;
    const was = named(before, name);
    const renamed = was ?? gone.find((other) => diffParts(other, placed).length === 0);
    if (renamed === undefined) {
      diffs.push({
        rule: name,
        change: "added",
        note: placeAmong(after, index),
        parts: describeRule(placed),
      });
    } else if (was === undefined) {
      gone.splice(gone.indexOf(renamed), 1);
      diffs.push({ rule: name, change: "renamed", note: `it was ${renamed.rule.name}`, parts: [] });
    } else {
      const parts = diffParts(was, placed);
      if (parts.length > 0) diffs.push({ rule: name, change: "changed", note: null, parts });
    }
  }
  const removed = gone.map((placed): RuleDiff => {
    return { rule: placed.rule.name, change: "removed", note: null, parts: [] };
  });
  return [...diffs, ...removed];
}

function placeAmong(rules: readonly Placed[], index: number): string | null {
  const next = rules[index + 1];
  if (rules.length === 1) return null;
  return next === undefined ? "after all others" : `before ${next.rule.name}`;
}

const AMOUNT: Readonly<Record<Relation, string>> = {
  equal: "the same",
  narrower: "fewer",
  wider: "more",
  other: "other",
};

function diffParts(was: Placed, is: Placed): PartDiff[] {
  const [from, to] = [was.rule, is.rule];
  const relations = [
    ["when", "users", compareFilters(from.when ?? ALL, to.when ?? ALL)],
    ["filter", "documents", compareFilters(was.filter, is.filter)],
    ["fields", "fields", compareProjections(from.projection, to.projection)],
  ] as const;
  const parts = relations.flatMap(([part, what, relation]) => {
    if (relation === "equal") return [];
    const [textFrom, textTo] = [partText(was, part), partText(is, part)];
    // The text is unchanged, but a lookup in it has changed.
    const by = textFrom === textTo ? ", by its lookup" : "";
    return [{ part, effect: `${AMOUNT[relation]} ${what}${by}`, from: textFrom, to: textTo }];
  });
  const anonymous = from.anonymous === to.anonymous ? [] : [anonymousPart(to)];
  return [...parts, ...anonymous, ...allowParts(from.allow, to.allow)].sort(inFileOrder);
}

/** A filter that matches everything. */
const ALL: Filter = { op: "$and", filters: [] };

const FILE_ORDER = [
  "when",
  "anonymous",
  "filter",
  "fields",
  "allow.sort",
  "allow.maxLimit",
  "allow.snapshot",
  "allow.aggregate",
  "allow.documents",
  "allow.requireIndex",
];
const inFileOrder = (a: PartDiff, b: PartDiff) => FILE_ORDER.indexOf(a.part) - FILE_ORDER.indexOf(b.part);

function anonymousPart({ anonymous }: Rule): PartDiff {
  const effect = anonymous ? "anonymous users, too" : "no anonymous users any more";
  return { part: "anonymous", effect, from: String(!anonymous), to: String(anonymous) };
}

function allowParts(from: Rule["allow"], to: Rule["allow"]): PartDiff[] {
  const parts = sizePart("allow.maxLimit", from.maxLimit ?? undefined, to.maxLimit ?? undefined);
  if (from.snapshot !== to.snapshot) {
    const effect = to.snapshot ? "snapshots may be asked for" : "snapshots are forbidden";
    parts.push({ part: "allow.snapshot", effect, from: String(from.snapshot), to: String(to.snapshot) });
  }
  if (from.aggregate !== to.aggregate) {
    const effect = to.aggregate ? "counts and groups may be asked for" : "counts and groups are forbidden";
    parts.push({ part: "allow.aggregate", effect, from: String(from.aggregate), to: String(to.aggregate) });
  }
  if (from.documents !== to.documents) {
    const effect = to.documents ? "documents may be asked for" : "counts and groups alone, and no documents";
    parts.push({ part: "allow.documents", effect, from: String(from.documents), to: String(to.documents) });
  }
  if (from.requireIndex !== to.requireIndex) {
    const effect = to.requireIndex ? "an index has to serve the snapshot" : "no index is needed any more";
    parts.push({
      part: "allow.requireIndex",
      effect,
      from: String(from.requireIndex),
      to: String(to.requireIndex),
    });
  }
  const [was, is] = [from.sort, to.sort].map((paths) => paths && [...new Set(paths)].sort().join());
  if (was !== is) {
    const [textFrom, textTo] = [from.sort, to.sort].map((paths) => paths?.join(", ") ?? "every visible path");
    parts.push({
      part: "allow.sort",
      effect: "other sorts may be asked",
      from: textFrom ?? null,
      to: textTo ?? null,
    });
  }
  return parts;
}

/** The parts of a new rule. */
function describeRule(placed: Placed): PartDiff[] {
  const { anonymous } = placed.rule;
  const part = (name: string, to: string): PartDiff => ({ part: name, effect: "", from: null, to });
  return [
    part("when", partText(placed, "when") + (anonymous ? ", anonymous ones, too" : "")),
    part("filter", partText(placed, "filter")),
    part("fields", partText(placed, "fields")),
  ];
}

function partText({ options, rule }: Placed, part: "when" | "filter" | "fields"): string {
  if (part === "fields") return describeProjection(rule.projection);
  if (part === "when") return options.when === undefined ? "any user" : JSON.stringify(options.when);
  return options.filter === undefined ? "all documents" : JSON.stringify(options.filter);
}

/**
 * Converts a template to a filter in which every placeholder is a value that equals no other one. Relations between two
 * such filters hold for any claims. A list is represented by two values, because its length is unknown.
 */
function opaque(template: FilterTemplate, lookups: ReadonlyMap<string, LookupTemplate> = new Map()): Filter {
  const symbol = (name: string) => fromJs(new Binary(Buffer.from(name)));
  return bindFilter(template, {
    one: ({ placeholder }) => symbol(placeholder),
    many: (placeholder) => {
      const lookup = lookups.get(lookupOf(placeholder) ?? "");
      const name = lookup === undefined ? placeholder.placeholder : lookupIdentity(lookup);
      return [symbol(`${name} 1`), symbol(`${name} 2`)];
    },
  });
}

/** Equal for lookups that find the same values, whatever their names are. */
function lookupIdentity({ database, collectionName, filter, value }: LookupTemplate): string {
  return JSON.stringify(["%%lookup", database, collectionName, canonicalFilter(opaque(filter)), value]);
}
