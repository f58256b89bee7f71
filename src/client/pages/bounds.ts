/**
 * Parts of a sorted result as filters. A row divides the documents in those up to it and those after it. The second part
 * is written as the negation of the first one, so that every document is in exactly one of them.
 */
import { TidewireError } from "../../protocol/errors.ts";
import type { SortSpec, ValueMode } from "../../protocol/messages.ts";
import { toEjson } from "../ejson.ts";
import type { LiveRequest } from "../live-result.ts";
import { operandsOf } from "../operands.ts";
import type { Doc } from "../result-set.ts";
import { CLASSES, classOf, valuesAt } from "../values.ts";

type Conditions = Readonly<Record<string, unknown>>;

/**
 * The value of a row by which MongoDB sorts it.
 * @throws {TidewireError} `bad-request` for an array. Filters compare each of its items, and a sort only one of them.
 */
function sortValueOf(row: Doc, path: string): unknown {
  const [value = null, ...more] = valuesAt(row, path.split("."));
  if (more.length === 0 && !Array.isArray(value)) return value;
  throw new TidewireError("bad-request", `pages cannot be sorted by "${path}", which holds arrays`);
}

/** It sorts before all numbers, but no number is greater or less than it for a filter. */
const NAN = { $numberDouble: "NaN" };

/** The conditions, of which one holds for each document that sorts before the value by this path alone. */
function before(path: string, direction: 1 | -1, operands: readonly unknown[]): Conditions[] {
  const classes = operands.map((operand) => CLASSES.indexOf(classOf(operand)));
  const others =
    direction === 1 ? CLASSES.slice(1, Math.min(...classes)) : CLASSES.slice(Math.max(...classes) + 1);
  const conditions: Conditions[] = [];
  const isNull = classes[0] === 0;
  const isNan = JSON.stringify(operands) === JSON.stringify([NAN]);
  if (isNan && direction === -1) conditions.push({ [path]: { $type: "number", $ne: NAN } });
  for (const operand of isNull || isNan ? [] : operands) {
    conditions.push({ [path]: { [direction === 1 ? "$lt" : "$gt"]: operand } });
  }
  // A missing value has no type.
  if (direction === 1 && !isNull) {
    const isNumber = classOf(operands[0]) === "number" && !isNan;
    conditions.push({ [path]: isNumber ? { $in: [null, NAN] } : null });
  }
  if (others.length > 0) conditions.push({ [path]: { $type: others } });
  return conditions;
}

const equal = (path: string, operands: readonly unknown[]): Conditions => ({
  [path]: operands.length === 1 ? operands[0] : { $in: operands },
});

/** The alternatives, of which one holds for each document that is not after the row in the order of the sort. */
function upTo(row: Doc, sort: SortSpec, mode: ValueMode): Conditions[] {
  const alternatives: Conditions[] = [];
  let same: Conditions = {};
  // `_id` breaks all ties, so no path after it counts.
  for (const [path, direction] of [...sort, ["_id", 1] as const]) {
    const operands = operandsOf(toEjson(sortValueOf(row, path)), mode);
    for (const condition of before(path, direction, operands)) alternatives.push({ ...same, ...condition });
    same = { ...same, ...equal(path, operands) };
    if (path === "_id") break;
  }
  return [...alternatives, same];
}

/**
 * The part of a sorted request between two rows: after the first one, up to the second one.
 * @param limit At most this many documents. Omitted where the second row ends the part.
 */
export function between(
  request: LiveRequest & { readonly sort: SortSpec },
  mode: ValueMode,
  [after, last]: readonly [after: Doc | undefined, last: Doc | undefined],
  limit?: number,
): LiveRequest {
  const { limit: _limit, filter = {}, ...rest } = request;
  const bounds = {
    ...(after === undefined ? {} : { $nor: upTo(after, request.sort, mode) }),
    ...(last === undefined ? {} : { $or: upTo(last, request.sort, mode) }),
  };
  const isSeparate = Object.keys(bounds).some((operator) => operator in filter);
  const whole = isSeparate ? { $and: [filter, bounds] } : { ...filter, ...bounds };
  return {
    ...rest,
    ...(Object.keys(whole).length === 0 ? {} : { filter: whole }),
    ...(limit === undefined ? {} : { limit }),
  };
}
