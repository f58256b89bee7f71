/** Conditions of TanStack DB as filters of the service. */
import type { LoadSubsetOptions } from "@tanstack/db";
import { toEjson } from "../client/ejson.ts";
import { operandsOf } from "../client/operands.ts";
import type { ValueMode } from "../protocol/messages.ts";

type Expression = NonNullable<LoadSubsetOptions["where"]>;
type Filter = Readonly<Record<string, unknown>>;

/** A filter that matches at least what the condition matches. */
interface Converted {
  readonly filter: Filter;
  /** Whether it matches nothing else. Only then its negation may be used. */
  readonly isExact: boolean;
}

const EVERYTHING: Converted = { filter: {}, isExact: false };
const RANGES: Readonly<Record<string, string>> = { gt: "$gt", gte: "$gte", lt: "$lt", lte: "$lte" };

/** How many values one filter has at most. The service allows `limits.filterValues` (1,000). */
const VALUES_MAX = 400;

/**
 * The filters that together match every row that the condition matches. Parts that the service cannot evaluate are left
 * out, because TanStack DB evaluates the condition again. A join asks for many keys at once, which are several filters.
 */
export function filtersOf(where: Expression | undefined, mode: ValueMode): readonly Filter[] {
  const { filter } = where === undefined ? EVERYTHING : convert(where, mode);
  const [[path, condition] = ["", undefined], ...more] = Object.entries(filter);
  const values = (condition as { $in?: readonly unknown[] } | undefined)?.$in;
  if (more.length > 0 || values === undefined || values.length <= VALUES_MAX) return [filter];
  const parts: Filter[] = [];
  for (let at = 0; at < values.length; at += VALUES_MAX)
    parts.push({ [path]: { $in: values.slice(at, at + VALUES_MAX) } });
  return parts;
}

function convert(expression: Expression, mode: ValueMode): Converted {
  if (expression.type !== "func") return EVERYTHING;
  const { name, args } = expression;
  if (name === "and" || name === "or" || name === "not") {
    const parts = (args as Expression[]).map((arg) => convert(arg, mode));
    if (name === "and") return and(parts);
    return name === "or" ? or(parts) : not(parts[0] ?? EVERYTHING);
  }
  const [field, operand] = args;
  const path = field?.type === "ref" ? pathOf(field.path) : undefined;
  if (path === undefined) return EVERYTHING;
  if (name === "isNull" || name === "isUndefined") return { filter: { [path]: null }, isExact: false };
  return operand?.type === "val" ? compare(name, path, operand.value, mode) : EVERYTHING;
}

/** Without names that the service takes for something else. */
const pathOf = (path: readonly (string | number)[]): string | undefined =>
  path.length > 0 && path.every((part) => !/[.$]/.test(String(part))) ? path.join(".") : undefined;

function compare(name: string, path: string, value: unknown, mode: ValueMode): Converted {
  const isList = name === "in" && Array.isArray(value);
  try {
    const operands = (isList ? (value as unknown[]) : [value]).flatMap((one) =>
      operandsOf(toEjson(one), mode),
    );
    if (isList || name === "eq")
      return {
        filter: { [path]: operands.length === 1 ? { $eq: operands[0] } : { $in: operands } },
        isExact: true,
      };
    const operator = RANGES[name];
    if (operator === undefined) return EVERYTHING;
    const ranges = operands.map((operand): Filter => ({ [path]: { [operator]: operand } }));
    return { filter: ranges.length === 1 ? (ranges[0] ?? {}) : { $or: ranges }, isExact: true };
  } catch {
    return EVERYTHING; // a value that no filter can contain
  }
}

function and(parts: readonly Converted[]): Converted {
  const filters = parts.map(({ filter }) => filter).filter((filter) => Object.keys(filter).length > 0);
  const isExact = parts.every((part) => part.isExact);
  if (filters.length === 0) return { ...EVERYTHING, isExact };
  return { filter: filters.length === 1 ? (filters[0] ?? {}) : { $and: filters }, isExact };
}

function or(parts: readonly Converted[]): Converted {
  const isExact = parts.every((part) => part.isExact);
  const isOpen = parts.length === 0 || parts.some(({ filter }) => Object.keys(filter).length === 0);
  return isOpen ? EVERYTHING : { filter: { $or: parts.map(({ filter }) => filter) }, isExact };
}

/** TanStack DB takes a comparison with a missing value for neither true nor false. MongoDB takes its negation for true. */
const not = ({ filter, isExact }: Converted): Converted =>
  isExact && Object.keys(filter).length > 0 ? { filter: { $nor: [filter] }, isExact: false } : EVERYTHING;
