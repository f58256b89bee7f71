/** Filters of App Services: conditions added to every query of certain users, before any role applies. */
import { pathFault } from "../match/paths.ts";
import { isPlainObject } from "../match/read-literal.ts";
import { ALWAYS, type Condition, type Filter } from "./condition.ts";
import { hasExpansion, readValue, type Surroundings } from "./operands.ts";
import type { NoteProblem } from "./problems.ts";
import { readExpression } from "./read-expression.ts";
import { ALL_FIELDS, type Shown } from "./shown-fields.ts";

/** A filter that App Services adds to the queries of some users. */
export interface QueryFilter {
  readonly name: string;
  /** The users to whom the filter applies; a condition over users alone. */
  readonly applies: Condition;
  /** The remaining documents and fields; `undefined` if that cannot be expressed, so nothing remains. */
  readonly rest: { readonly query: Filter; readonly shown: Shown } | undefined;
}

type Entries = Readonly<Record<string, unknown>>;

const PARTS: ReadonlySet<string> = new Set(["name", "apply_when", "query", "projection", "project"]);

/**
 * Reads one filter of a collection. A part that cannot be expressed in a rule is reported, and the filter then shows
 * nothing.
 */
export function readQueryFilter(
  name: string,
  filter: Entries,
  around: Surroundings,
  options: { readonly allowId: boolean },
  noteProblem: NoteProblem,
): QueryFilter {
  const { apply_when: when = true, query = {}, projection = filter["project"] ?? {} } = filter;
  const applies = readExpression(when, "apply_when", around, (at, message) =>
    noteProblem(at, message.replace("it grants nothing", "the filter is applied to everybody")),
  );
  try {
    const unknown = Object.keys(filter).find((part) => !PARTS.has(part));
    if (unknown !== undefined) throw new Unfit(`${unknown} is not known`);
    if (!isPlainObject(query)) throw new Unfit("a query that is no object");
    const rest = {
      query: replaced(query, around) as Filter, // an object goes in, so an object comes out
      shown: readProjection(projection, options.allowId),
    };
    return { name, applies: overUsers(applies), rest };
  } catch (error) {
    if (!(error instanceof Unfit)) throw error;
    noteProblem("", `${error.message}: its users see nothing`);
    return { name, applies: overUsers(applies), rest: undefined };
  }
}

/** Filters apply before a document is read. A filter that names document fields applies to everybody. */
function overUsers(condition: Condition): Condition {
  return JSON.stringify(condition).includes('"is":"document"') ? ALWAYS : condition;
}

class Unfit extends Error {
  override readonly name = "Unfit";
}

/** A query of MongoDB, with claims in place of expansions. */
function replaced(value: unknown, around: Surroundings): unknown {
  if (Array.isArray(value)) return value.map((item) => replaced(item, around));
  if (typeof value === "string" || isConversion(value)) {
    const operand = readValue(value, around);
    if (operand.is === "value") return operand.value;
    if (operand.is !== "user") throw new Unfit(operand.is === "unfit" ? operand.why : "a field as a value");
    return `%%${operand.asOid ? "oid:" : ""}user.${operand.claim}`;
  }
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (hasExpansion(key)) throw new Unfit(`${key} as a key of a query`);
      return [key, replaced(inner, around)];
    }),
  );
}

const isConversion = (value: unknown) =>
  isPlainObject(value) && Object.keys(value).length === 1 && Object.hasOwn(value, "%stringToOid");

function readProjection(value: unknown, allowId: boolean): Shown {
  const { _id: id, ...entries } = isPlainObject(value) ? value : { projection: value };
  const paths = Object.keys(entries);
  const kinds = new Set(
    Object.values(entries).map((kind) => (kind === 1 || kind === true ? "only" : isOff(kind))),
  );
  if (isOff(id) === "but" && !allowId)
    throw new Unfit("it hides _id, which Tidewire always shows (--allow-id accepts that)");
  const [of] = kinds;
  if (kinds.size > 1 || of === "neither" || paths.some((path) => pathFault(path) !== undefined)) {
    throw new Unfit("a projection that is not a list of paths to show or to hide");
  }
  if (of === undefined)
    return isOff(id) === "but" || id === undefined ? ALL_FIELDS : { of: "only", paths: ["_id"] };
  return { of: of === "only" ? "only" : "but", paths: of === "only" ? ["_id", ...paths] : paths };
}

const isOff = (kind: unknown) => (kind === 0 || kind === false ? "but" : "neither");
