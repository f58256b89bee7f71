/**
 * Conditions as App Services has them, over a user and a document at once, and what is certain of them: a right is
 * given only where it is certainly there in the source, and taken away wherever it might be.
 */
import { isPlainObject, isWrapperKey } from "../match/read-literal.ts";

/** A filter in MongoDB's query language, as JSON. */
export type Filter = Readonly<Record<string, unknown>>;

/** A condition over a user and a document. */
export type Condition =
  | { readonly is: "constant"; readonly value: boolean }
  /** Cannot be evaluated here: it may hold or not. */
  | { readonly is: "unknown" }
  /** Holds for users alone: a filter over claims. */
  | { readonly is: "user"; readonly when: Filter }
  /** Holds for documents: a filter, and the claims that it names. */
  | { readonly is: "document"; readonly filter: Filter; readonly claims: readonly string[] }
  | { readonly is: "all" | "any"; readonly parts: readonly Condition[] }
  | { readonly is: "not"; readonly part: Condition };

/** Holds for every user and document. */
export const ALWAYS: Condition = { is: "constant", value: true };
/** Holds for no user and no document. */
export const NEVER: Condition = { is: "constant", value: false };
/** Cannot be evaluated here, so it gives no right and removes every right that it might remove. */
export const UNKNOWN: Condition = { is: "unknown" };

/** Holds where all parts hold. Simplified: constants and repeated parts are left out. */
export const all = (parts: readonly Condition[]): Condition => join("all", parts);
/** Holds where any part holds. Simplified: constants and repeated parts are left out. */
export const any = (parts: readonly Condition[]): Condition => join("any", parts);

function join(is: "all" | "any", parts: readonly Condition[]): Condition {
  const [neutral, decides] = is === "all" ? [true, NEVER] : [false, ALWAYS];
  const different = new Map(parts.map((part) => [JSON.stringify(part), part]));
  const left = [...different.values()].filter((part) => part.is !== "constant" || part.value !== neutral);
  if (left.some((part) => part.is === "constant")) return decides;
  const [only] = left;
  if (only === undefined) return { is: "constant", value: neutral };
  return left.length === 1 ? only : { is, parts: left };
}

/** Holds where `part` does not hold. The opposite of an unknown condition is unknown. */
export function not(part: Condition): Condition {
  if (part.is === "constant") return { is: "constant", value: !part.value };
  if (part.is === "not") return part.part;
  return part.is === "unknown" ? part : { is: "not", part };
}

/** Known facts about a user: which conditions over claims hold, and which claims exist, by their text. */
export type Facts = ReadonlyMap<string, boolean>;

/** The key by which facts about a user are compared. */
export const factOf = (when: Filter): string => JSON.stringify(when);
/** A missing claim in a filter refuses the whole rule, so the presence of a claim is a fact of its own. */
export const presence = (claim: string): Filter => ({ [`%%user.${claim}`]: { $exists: true } });

/** The condition with the known facts about the user inserted. */
export function given(condition: Condition, facts: Facts): Condition {
  switch (condition.is) {
    case "user": {
      const value = facts.get(factOf(condition.when));
      return value === undefined ? condition : { is: "constant", value };
    }
    case "document":
      return condition.claims.some((claim) => facts.get(factOf(presence(claim))) === false)
        ? UNKNOWN
        : condition;
    case "all":
    case "any":
      return join(
        condition.is,
        condition.parts.map((part) => given(part, facts)),
      );
    case "not":
      return not(given(condition.part, facts));
    default:
      return condition;
  }
}

/** The first condition over claims in it that is not decided. */
export function openFact(condition: Condition): Filter | undefined {
  if (condition.is === "user") return condition.when;
  if (condition.is === "not") return openFact(condition.part);
  if (condition.is !== "all" && condition.is !== "any") return undefined;
  for (const part of condition.parts) {
    const fact = openFact(part);
    if (fact !== undefined) return fact;
  }
  return undefined;
}

/** A filter over documents alone that matches only if the condition certainly holds. */
export const certainly = (condition: Condition): Condition => bound(condition, false);
/** A filter over documents alone that matches if the condition may hold. */
export const possibly = (condition: Condition): Condition => bound(condition, true);

function bound(condition: Condition, unknown: boolean): Condition {
  switch (condition.is) {
    case "unknown":
      return { is: "constant", value: unknown };
    case "not":
      return not(bound(condition.part, !unknown));
    case "all":
    case "any":
      return join(
        condition.is,
        condition.parts.map((part) => bound(part, unknown)),
      );
    default:
      return condition;
  }
}

/** The claims that a condition names. */
export function claimsIn(condition: Condition): readonly string[] {
  if (condition.is === "document") return condition.claims;
  if (condition.is === "not") return claimsIn(condition.part);
  return condition.is === "all" || condition.is === "any" ? condition.parts.flatMap(claimsIn) : [];
}

/** Converts a condition over documents to a MongoDB filter. The condition has no unknown parts and names no user. */
export function toFilter(condition: Condition): Filter {
  switch (condition.is) {
    case "constant":
      return condition.value ? {} : NOTHING;
    case "document":
      return condition.filter;
    case "all":
      return mergeFilters(condition.parts.map(toFilter));
    case "any":
      return { $or: condition.parts.map(toFilter) };
    case "not":
      return { $nor: [toFilter(condition.part)] };
    default:
      throw new TypeError(`${condition.is} is not over documents`);
  }
}

/** Finds no document. */
export const NOTHING: Filter = { _id: { $in: [] } };

/** The conjunction of the filters, as one object if possible. */
export function mergeFilters(filters: readonly Filter[]): Filter {
  // Without a prototype, a field of any name is a field: `__proto__` would otherwise be lost, and with it a condition.
  const merged: Record<string, unknown> = Object.create(null);
  const rest: Filter[] = [];
  for (const filter of filters) {
    if (Object.keys(filter).every((key) => fits(merged[key], filter[key]))) {
      for (const [key, value] of Object.entries(filter)) {
        merged[key] = isOperators(value) ? { ...(merged[key] as object | undefined), ...value } : value;
      }
    } else if (!rest.some((other) => JSON.stringify(other) === JSON.stringify(filter))) rest.push(filter);
  }
  return rest.length === 0 ? merged : { $and: [merged, ...rest] };
}

/** Whether both can share one key: the key is free, has the same value, or has other operators. */
function fits(present: unknown, added: unknown): boolean {
  if (present === undefined || JSON.stringify(present) === JSON.stringify(added)) return true;
  if (!isOperators(present) || !isOperators(added)) return false;
  return Object.keys(added).every((operator) => !Object.hasOwn(present, operator));
}

/** Operators that can be combined under one key. A regular expression consists of two operators, and a value has none. */
function isOperators(value: unknown): value is Filter {
  return (
    isPlainObject(value) &&
    Object.keys(value).length > 0 &&
    Object.keys(value).every(
      (key) => key.startsWith("$") && !isWrapperKey(key) && !/^\$(?:regex|options)/.test(key),
    )
  );
}

/** The paths of documents that a filter asks about. */
export function pathsIn(filter: Filter): string[] {
  return Object.entries(filter).flatMap(([key, value]) =>
    key.startsWith("$") && Array.isArray(value) ? value.flatMap((part) => pathsIn(part as Filter)) : [key],
  );
}
