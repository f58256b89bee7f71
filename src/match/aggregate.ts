/** Parses the counts and sums of groups that clients ask for (docs/protocol.md, section 3.4). */
import { TidewireError } from "../protocol/errors.ts";
import { isWellFormed, pathFault, quote } from "./paths.ts";

const OPERATORS = ["count", "sum", "avg", "min", "max"] as const;
/** The function that computes one value of a group. */
export type AggregateOperator = (typeof OPERATORS)[number];

/** One field of the rows. */
export type AggregateValue =
  | { readonly name: string; readonly operator: "count"; readonly path: null }
  | { readonly name: string; readonly operator: Exclude<AggregateOperator, "count">; readonly path: string };

/** The groups of a result, and their values. */
export interface Aggregate {
  /**
   * The path by which documents are grouped. Several paths for an `_id` of several parts; `null` for a single group of
   * all documents.
   */
  readonly by: string | readonly string[] | null;
  readonly values: readonly AggregateValue[];
}

const BY_MAX = 4;
const VALUES_MAX = 8;
const NAME_MAX = 64;
const PATH_MAX = 500;

/** The values of a request that names none. */
const COUNT: AggregateValue = { name: "count", operator: "count", path: null };

/** A request that names nothing. Most counters are this one, and share it. */
const COUNT_ALL: Aggregate = { by: null, values: [COUNT] };

/** Parses the `aggregate` of a request. @throws {TidewireError} `bad-request` */
export function parseAggregate(given: unknown): Aggregate {
  const { by, values, ...others } = entriesOf(given, "aggregate");
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined)
    throw refusal("aggregate", `has no field ${quote(unknown)}: it has by and values`);
  if (by === undefined && values === undefined) return COUNT_ALL;
  return { by: parseBy(by), values: values === undefined ? [COUNT] : parseValues(values) };
}

function parseBy(given: unknown): Aggregate["by"] {
  if (given === undefined) return null;
  if (typeof given === "string") return checkPath(given, "aggregate.by");
  if (!Array.isArray(given) || given.length < 1 || given.length > BY_MAX)
    throw refusal("aggregate.by", `is a path, or a list of 1 to ${BY_MAX} paths`);
  const paths = given.map((path: unknown) => checkPath(path, "aggregate.by"));
  for (const [index, path] of paths.entries())
    if (paths.some((other, at) => at !== index && isWithin(path, other)))
      throw refusal("aggregate.by", `lists ${quote(path)} twice, or within another path`);
  return paths;
}

function parseValues(given: unknown): AggregateValue[] {
  const entries = Object.entries(entriesOf(given, "aggregate.values"));
  if (entries.length < 1 || entries.length > VALUES_MAX)
    throw refusal("aggregate.values", `has 1 to ${VALUES_MAX} values`);
  return entries.map(([name, value]) => parseValue(name, value));
}

function parseValue(name: string, given: unknown): AggregateValue {
  const isName =
    name.length >= 1 &&
    name.length <= NAME_MAX &&
    name !== "_id" &&
    !name.startsWith("$") &&
    !/[.\0]/.test(name) &&
    isWellFormed(name);
  if (!isName)
    throw refusal(
      "aggregate.values",
      `cannot name a value ${quote(name)}: a name has 1 to ${NAME_MAX} characters, without a dot or a $ in front, and is not _id`,
    );
  const where = `aggregate.values.${name}`;
  const [only, ...more] = Object.entries(entriesOf(given, where));
  const operator = OPERATORS.find((known) => known === only?.[0]);
  if (only === undefined || more.length > 0 || operator === undefined)
    throw refusal(where, `has one of ${OPERATORS.join(", ")}`);
  if (operator !== "count") return { name, operator, path: checkPath(only[1], `${where}.${operator}`) };
  if (only[1] !== true) throw refusal(`${where}.count`, "is true");
  return { name, operator, path: null };
}

function checkPath(given: unknown, where: string): string {
  if (typeof given !== "string") throw refusal(where, "is a path, as text");
  const fault = given.length > PATH_MAX ? `has more than ${PATH_MAX} characters` : pathFault(given);
  if (fault !== undefined) throw refusal(where, `is ${quote(given)}, which ${fault}`);
  return given;
}

const isWithin = (path: string, other: string): boolean => path === other || path.startsWith(`${other}.`);

function entriesOf(given: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw refusal(where, "is an object");
  return given as Readonly<Record<string, unknown>>; // its values are checked one by one
}

const refusal = (path: string, text: string) => new TidewireError("bad-request", `${path} ${text}`, { path });

/** The paths from which the groups and their values are computed, each once. */
export function aggregatePaths({ by, values }: Aggregate): string[] {
  const groups = by === null ? [] : typeof by === "string" ? [by] : by;
  return [...new Set([...groups, ...values.flatMap(({ path }) => (path === null ? [] : [path]))])];
}

/** A text that is equal for two aggregates if and only if their rows are. */
export const canonicalAggregate = ({ by, values }: Aggregate): string =>
  JSON.stringify([by, values.map(({ name, operator, path }) => [name, operator, path])]);
