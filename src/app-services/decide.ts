/**
 * Converts roles to rules. The first role that applies to a document decides; the first rule that applies to a user
 * decides. Every condition over users is taken as true and as false, in that order, so that the first rule whose
 * `when` holds is the one for exactly the conditions that hold.
 */
import {
  all,
  any,
  type Condition,
  certainly,
  claimsIn,
  type Facts,
  type Filter,
  factOf,
  given,
  mergeFilters,
  NEVER,
  NOTHING,
  not,
  openFact,
  pathsIn,
  possibly,
  presence,
  toFilter,
} from "./condition.ts";
import type { QueryFilter } from "./read-filter.ts";
import { type FieldOptions, type Role, shownFields } from "./read-role.ts";
import { isHidden, isSame, type Shown, shownByBoth, showsAllOf, showsAnything } from "./shown-fields.ts";

/** A rule as the configuration has it. */
export interface RuleText {
  readonly name: string;
  readonly when?: Filter;
  readonly filter?: Filter;
  readonly fields?: { readonly include: readonly string[] } | { readonly exclude: readonly string[] };
}

/** The roles and filters of one collection, from which its rules follow. */
export interface Decision {
  readonly roles: readonly Role[];
  readonly filters: readonly QueryFilter[];
  readonly options: FieldOptions;
  /** Reports a problem of the named role or filter. */
  readonly noteProblem: (name: string, at: string, message: string) => void;
}

/** The documents and fields that users with certain facts see. */
interface Sight {
  readonly names: readonly string[];
  readonly filter: Filter;
  readonly shown: Shown;
}

/** Beyond this number nobody could review the rules. */
const RULES_MAX = 64;

/** A condition over documents that gives fields, because of one role. */
interface Part {
  readonly role: string;
  readonly documents: Condition;
  readonly shown: Shown;
}

/** The rules of a collection; `undefined` where there would be too many. */
export function decide(decision: Decision): RuleText[] | undefined {
  const sights: { when: readonly Filter[]; sight: Sight | undefined }[] = [];
  const isComplete = branch(decision, new Map(), [], sights);
  if (!isComplete) return undefined;
  // Users who see nothing need no rule, unless a later rule would apply to them.
  while (sights.length > 0 && sights.at(-1)?.sight === undefined) sights.pop();
  const names = new Set<string>();
  return sights.map(({ when, sight }) => {
    const name = unique(sight?.names.join("+") ?? "nothing", names);
    return {
      name,
      ...(when.length === 0 ? {} : { when: mergeFilters(when) }),
      ...(sight === undefined ? { filter: NOTHING } : filterAndFields(sight)),
    };
  });
}

function filterAndFields({ filter, shown }: Sight): Partial<RuleText> {
  return {
    ...(Object.keys(filter).length === 0 ? {} : { filter }),
    ...(shown.of === "all" ? {} : { fields: fieldsOf(shown.of, shown.paths) }),
  };
}

function fieldsOf(of: "only" | "but", paths: readonly string[]) {
  if (of === "but") return { exclude: paths };
  const others = paths.filter((path) => path !== "_id");
  return { include: others.length === 0 ? paths : others };
}

/** Returns `false` as soon as there are too many rules. */
function branch(
  decision: Decision,
  facts: Facts,
  when: readonly Filter[],
  sights: { when: readonly Filter[]; sight: Sight | undefined }[],
): boolean {
  if (sights.length > RULES_MAX) return false;
  const open = nextFact(decision, facts);
  if (open === undefined) {
    sights.push({ when, sight: seen(decision, facts) });
    return true;
  }
  const first = sights.length;
  const withFact = (value: boolean): Facts => new Map([...facts, [factOf(open), value]]);
  if (!branch(decision, withFact(true), [...when, open], sights)) return false;
  const second = sights.length;
  if (!branch(decision, withFact(false), when, sights)) return false;
  // If the fact makes no difference, the more general rule covers both cases.
  const [yes, no] = [sights[first], sights[second]];
  const areTwo = second === first + 1 && sights.length === second + 1;
  if (areTwo && JSON.stringify(yes?.sight) === JSON.stringify(no?.sight)) sights.splice(first, 1);
  return true;
}

/** The next condition over users that still makes a difference, or the presence of a claim that only some parts need. */
function nextFact(decision: Decision, facts: Facts): Filter | undefined {
  for (const { applies } of decision.filters) {
    const open = openFact(given(applies, facts));
    if (open !== undefined) return open;
  }
  for (const { applies, grants } of decision.roles) {
    const who = given(applies, facts);
    const open = openFact(who);
    if (open !== undefined) return open;
    if (who.is === "constant" && !who.value) continue;
    for (const { visible, fields } of grants) {
      const rights =
        fields === "all" ? [] : [fields.rest, ...fields.named.map(({ readable }) => readable ?? NEVER)];
      for (const right of [visible, ...rights]) {
        const inner = openFact(given(right, facts));
        if (inner !== undefined) return inner;
      }
    }
    if (who.is === "constant") break;
  }
  return missableClaim(
    partsOf(decision, facts, () => {}),
    facts,
  );
}

/** A claim whose absence would refuse the whole rule, although another part does not need the claim. */
function missableClaim(parts: readonly Part[], facts: Facts): Filter | undefined {
  const needs = parts.map(({ documents }) => claimsIn(documents));
  const claim = needs
    .flat()
    .filter((one) => one !== "sub" && !facts.has(factOf(presence(one))))
    .find((one) => needs.some((need) => !need.includes(one)));
  return claim === undefined ? undefined : presence(claim);
}

/** The documents and fields that users with these facts certainly see. */
function seen(decision: Decision, facts: Facts): Sight | undefined {
  const applying = decision.filters.filter(({ applies }) => mayHold(applies, facts));
  const parts = partsOf(decision, facts, decision.noteProblem);
  if (parts.length === 0) return undefined;
  let shown = parts.map((part) => part.shown).reduce(shownByBoth);
  for (const part of parts) {
    if (isSame(part.shown, shown)) continue;
    decision.noteProblem(
      part.role,
      "fields",
      "roles of one user show different fields: what only some of them show is hidden",
    );
  }
  const kinds = new Set(applying.map(({ rest }) => rest?.shown.of ?? "all"));
  if (kinds.has("only") && kinds.has("but")) {
    const names = applying.map(({ name }) => name).join(" and ");
    decision.noteProblem(
      names,
      "projection",
      "some show and some hide fields, which no query may combine: nobody sees anything",
    );
    return undefined;
  }
  const documents = toFilter(any(parts.map((part) => part.documents)));
  for (const { name, rest } of applying) {
    if (rest === undefined) return undefined;
    const hidden = pathsIn(documents).find((path) => isHidden(path, rest.shown));
    if (hidden !== undefined) {
      decision.noteProblem(
        name,
        "projection",
        `hides ${hidden}, which roles use in conditions: its users see nothing`,
      );
      return undefined;
    }
    shown = shownByBoth(shown, rest.shown);
  }
  if (!showsAnything(shown)) return undefined;
  const filter = mergeFilters([documents, ...applying.map(({ rest }) => rest?.query ?? {})]);
  return { names: [...new Set(parts.map(({ role }) => role))], filter, shown };
}

function mayHold(condition: Condition, facts: Facts): boolean {
  const most = possibly(given(condition, facts));
  return most.is !== "constant" || most.value;
}

/** By role, the documents and fields that it certainly grants. */
function partsOf(decision: Decision, facts: Facts, noteProblem: Decision["noteProblem"]): Part[] {
  const parts: Part[] = [];
  const before: { who: Condition; full: Shown | undefined }[] = [];
  for (const { name, applies, grants } of decision.roles) {
    const who = given(applies, facts);
    const shownParts = grants.map(({ visible, fields }) => ({
      visible: given(visible, facts),
      shown: shownFields(fields, facts, decision.options, (at, message) => noteProblem(name, at, message)),
    }));
    for (const { visible, shown } of shownParts) {
      if (shown === undefined) continue;
      // Documents that an earlier role may decide, unless that role shows at least as much of each of them.
      const taken = before.filter(({ full }) => full === undefined || !showsAllOf(full, shown));
      const documents = certainly(all([who, visible, ...taken.map((earlier) => not(earlier.who))]));
      if (documents.is !== "constant" || documents.value) parts.push({ role: name, documents, shown });
      else if (isOnlyTaken(who, visible)) {
        noteProblem(
          name,
          "",
          "follows a role that may apply as well, and is not fully supported: it grants nothing",
        );
      }
    }
    const full = shownParts.find(({ visible }) => visible.is === "constant" && visible.value)?.shown;
    before.push({ who, full });
    if (who.is === "constant" && who.value) break;
  }
  return parts;
}

/** Whether the role would grant anything if it were the first. */
function isOnlyTaken(who: Condition, visible: Condition): boolean {
  const alone = certainly(all([who, visible]));
  return alone.is !== "constant" || alone.value;
}

function unique(name: string, taken: Set<string>): string {
  const short = name.slice(0, 56);
  let candidate = short;
  for (let count = 2; taken.has(candidate); count++) candidate = `${short}-${count}`;
  taken.add(candidate);
  return candidate;
}
