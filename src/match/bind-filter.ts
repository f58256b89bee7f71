/**
 * Replaces the placeholders of a rule with the claims of a user. This is where a user's data enters a filter, so a
 * claim must never be able to change the structure of the filter.
 */
import { isUtf8 } from "node:buffer";
import { TidewireError } from "../protocol/errors.ts";
import { BSON_TYPE, type BsonElement, type BsonValue, byteAt, elementsOf } from "./bson-value.ts";
import type {
  Filter,
  FilterTemplate,
  ListOperator,
  Operand,
  OperandList,
  Placeholder,
  Predicate,
  PredicateTemplate,
} from "./filter.ts";
import { rememberedIfLong } from "./remembered.ts";

/** Supplies the values of placeholders. Each function throws if the claim does not fit its slot. */
export interface PlaceholderResolver {
  one(placeholder: Placeholder): BsonValue;
  many(placeholder: Placeholder): readonly BsonValue[];
}

/**
 * Fills in the claims. A claim always stays a value and never becomes an operator.
 * @throws {TidewireError} `bad-filter` if a value is not `isBindable`, and any error of the resolver.
 */
export function bindFilter(template: FilterTemplate, resolve: PlaceholderResolver): Filter {
  if (template.op === "path") {
    return { op: "path", path: template.path, predicate: bindPredicate(template.predicate, resolve) };
  }
  return { ...template, filters: template.filters.map((filter) => bindFilter(filter, resolve)) };
}

function bindPredicate(predicate: PredicateTemplate, resolve: PlaceholderResolver): Predicate {
  switch (predicate.op) {
    case "$not":
    case "$elemMatchValue":
      return {
        op: predicate.op,
        predicates: predicate.predicates.map((inner) => bindPredicate(inner, resolve)),
      };
    case "$elemMatch":
      return { op: "$elemMatch", filter: bindFilter(predicate.filter, resolve) };
    case "$in":
    case "$nin":
    case "$all":
      return bindListOperator(predicate.op, predicate.values, resolve);
    case "$exists":
    case "$type":
    case "$size":
    case "$mod":
    case "$regex":
      return predicate;
    default:
      return { op: predicate.op, value: bindOperand(predicate.value, resolve) };
  }
}

function bindOperand(operand: Operand, resolve: PlaceholderResolver): BsonValue {
  return "placeholder" in operand ? bindable(resolve.one(operand)) : operand;
}

function bindListOperator(op: ListOperator, values: OperandList, resolve: PlaceholderResolver): Predicate {
  if ("placeholder" in values) return { op, values: bindableList(resolve.many(values)), from: values };
  return { op, values: values.map((value) => bindOperand(value, resolve)) };
}

/**
 * The list itself, so that all filters with it share everything that is made of a long list. The values of a lookup are
 * one list until the lookup changes.
 */
const bindableList = rememberedIfLong((values) => {
  for (const value of values) bindable(value);
  return values;
});

function bindable(value: BsonValue): BsonValue {
  if (!isBindable(value)) throw new TidewireError("bad-filter", "a value would be read as an operator");
  return value;
}

/**
 * Whether `find` receives the value, at any depth, with its own type. Regular expressions would be executed in `$in`,
 * and documents with `$` keys would be read as operators. The server refuses undefined. DBPointers, code, and strings
 * that are not valid UTF-8 have no legitimate use in a filter.
 */
export function isBindable(value: BsonValue): boolean {
  const { type, bytes, start, end } = value;
  if (UNSENDABLE.has(type)) return false;
  if (type === BSON_TYPE.string || type === BSON_TYPE.symbol)
    return isUtf8(bytes.subarray(start + 4, end - 1));
  if (type !== BSON_TYPE.object && type !== BSON_TYPE.array) return true;
  for (const element of elementsOf(bytes, start)) {
    if (type === BSON_TYPE.object && !isFieldName(element)) return false;
    if (!isBindable(element)) return false;
  }
  return true;
}

const UNSENDABLE: ReadonlySet<number> = new Set([
  BSON_TYPE.regex,
  BSON_TYPE.undefined,
  BSON_TYPE.dbPointer,
  BSON_TYPE.code,
  BSON_TYPE.codeWithScope,
]);

const DOLLAR = 0x24;

function isFieldName({ bytes, nameStart, nameEnd }: BsonElement): boolean {
  return byteAt(bytes, nameStart) !== DOLLAR && isUtf8(bytes.subarray(nameStart, nameEnd));
}
