/**
 * Conditions of TanStack DB as filters of the service. Each filter matches at least what the condition matches, because TanStack
 * DB evaluates the condition again. It compares values of JavaScript, and MongoDB compares those of the database.
 */
import type { LoadSubsetOptions } from "@tanstack/db";
import { toEjson } from "../client/ejson.ts";
import { operandsOf } from "../client/operands.ts";
import type { ValueMode } from "../protocol/messages.ts";

type Expression = NonNullable<LoadSubsetOptions["where"]>;
type Filter = Readonly<Record<string, unknown>>;

const EVERYTHING: Filter = {};
const RANGES: Readonly<Record<string, string>> = { gt: "$gt", gte: "$gte", lt: "$lt", lte: "$lte" };

/** How many values one filter has at most. The service allows `limits.filterValues` (1,000). */
const VALUES_MAX = 400;

/** In the mode `"json"` these numbers are `null` in the page. */
const NULLS = [null, ...["NaN", "Infinity", "-Infinity"].map(($numberDouble) => ({ $numberDouble }))];

/**
 * The filters that together match every row that the condition matches. Parts that the service cannot evaluate are left
 * out. A join asks for many keys at once, which are several filters.
 */
export function filtersOf(where: Expression | undefined, mode: ValueMode): readonly Filter[] {
  const filter = where === undefined ? EVERYTHING : convert(where, mode, false);
  const parts = (filter["$and"] as readonly Filter[] | undefined) ?? [filter];
  const list = parts.find((part) => listOf(part).length > VALUES_MAX);
  if (list === undefined) return [filter];
  const others = parts.filter((part) => listOf(part).length <= VALUES_MAX);
  const [path = ""] = Object.keys(list);
  const values = listOf(list);
  const filters: Filter[] = [];
  for (let at = 0; at < values.length; at += VALUES_MAX)
    filters.push(and([...others, { [path]: { $in: values.slice(at, at + VALUES_MAX) } }]));
  return filters;
}

/** The values of a filter that is nothing but a list of values for one path. */
function listOf(filter: Filter): readonly unknown[] {
  const [condition] = Object.values(filter);
  return (condition as { $in?: readonly unknown[] } | undefined)?.$in ?? [];
}

/** @param isNegated Whether a row is wanted that does not match. A comparison with a missing value gives neither. */
function convert(expression: Expression, mode: ValueMode, isNegated: boolean): Filter {
  if (expression.type !== "func") return EVERYTHING;
  const { name, args } = expression;
  if (name === "not") return convert(args[0] as Expression, mode, !isNegated);
  if (name === "and" || name === "or") {
    const parts = (args as Expression[]).map((arg) => convert(arg, mode, isNegated));
    return (name === "and") === isNegated ? or(parts) : and(parts);
  }
  const [field, operand] = args;
  const path = field?.type === "ref" ? pathOf(field.path) : undefined;
  if (path === undefined) return EVERYTHING;
  if (name === "isNull" || name === "isUndefined") {
    if (isNegated) return EVERYTHING;
    return { [path]: mode === "json" && name === "isNull" ? { $in: NULLS } : null };
  }
  return operand?.type === "val" ? compare(name, path, operand.value, mode, isNegated) : EVERYTHING;
}

/** Without names that the service takes for something else. */
const pathOf = (path: readonly (string | number)[]): string | undefined =>
  path.length > 0 && path.every((part) => !/[.$]/.test(String(part))) ? path.join(".") : undefined;

function compare(name: string, path: string, value: unknown, mode: ValueMode, isNegated: boolean): Filter {
  const isList = name === "in" && Array.isArray(value);
  const operator = RANGES[name];
  if (!isList && name !== "eq" && operator === undefined) return EVERYTHING;
  let operands: readonly unknown[];
  try {
    const values = isList ? (value as readonly unknown[]) : [value];
    operands = values.flatMap((one) => operandsOf(toEjson(one), mode));
  } catch {
    return EVERYTHING; // a value that no filter can contain
  }
  if (operator !== undefined && typeof value === "string")
    return compareText(operator, path, value, operands, mode, isNegated);
  const matched: Filter =
    operator !== undefined
      ? { [path]: { [operator]: operands[0] } }
      : { [path]: operands.length === 1 ? { $eq: operands[0] } : { $in: operands } };
  if (!isNegated) return matched;
  if (operands.length > VALUES_MAX) return EVERYTHING;
  // MongoDB also compares the items of arrays, and decimals by their value, which are text in the mode `"json"`.
  return or([{ $nor: [matched] }, { [path]: { $type: ["array", "decimal"] } }]);
}

/** Types that are text in the mode `"json"`, and the form of an operand that is compared with them exactly. */
const TEXTS: readonly (readonly [type: string, form?: string])[] = [
  ["objectId", "$oid"],
  ["date", "$date"],
  ["binData", "$uuid"],
  ["decimal"],
  ["long"],
  ["regex"],
];

/**
 * A range of text. JavaScript compares the text that the page has, whatever it is in the database: a decimal or a date
 * that an operand of another form is compared with is compared in the page.
 */
function compareText(
  operator: string,
  path: string,
  text: string,
  operands: readonly unknown[],
  mode: ValueMode,
  isNegated: boolean,
): Filter {
  // From this unit on JavaScript, which compares UTF-16, has another order than MongoDB, which compares code points.
  const isOrdered = !/[\ud800-\uffff]/.test(text);
  const isExact = (form = "") => isOrdered && operands.some((operand) => Object(operand)[form] !== undefined);
  const types = mode === "json" ? TEXTS.filter(([, form]) => !isExact(form)).map(([type]) => type) : [];
  if (isNegated) types.push("array");
  if (!isOrdered) return { [path]: { $type: ["string", ...types] } };
  const ranges = operands.map((operand): Filter => ({ [path]: { [operator]: operand } }));
  return or([
    ...(isNegated ? [{ $nor: ranges }] : ranges),
    ...(types.length > 0 ? [{ [path]: { $type: types } }] : []),
  ]);
}

function and(parts: readonly Filter[]): Filter {
  const filters = parts.filter((part) => Object.keys(part).length > 0);
  return filters.length > 1 ? { $and: filters } : (filters[0] ?? EVERYTHING);
}

/** A part that matches everything, or more values than a filter may have, makes the others needless. */
function or(parts: readonly Filter[]): Filter {
  const isOpen = parts.some((part) => Object.keys(part).length === 0 || listOf(part).length > VALUES_MAX);
  return isOpen || parts.length === 0 ? EVERYTHING : parts.length === 1 ? (parts[0] ?? {}) : { $or: parts };
}
