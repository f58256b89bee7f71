/**
 * Measures filters. Limits on depth, predicates and values are checked while parsing; these functions measure the
 * combined filter of client and rule, which no parser sees as a whole.
 */
import { BSON_TYPE, elementsOf } from "./bson-value.ts";
import type { FilterCost, FilterTemplate, Operand, PredicateTemplate } from "./filter.ts";

/** The size of a filter, by the measures to which limits apply. */
export function filterCost(filter: FilterTemplate): FilterCost {
  if (filter.op === "path") return predicateCost(filter.predicate);
  const cost = sum(filter.filters.map(branchCost));
  return filter.implicit ? cost : { ...cost, depth: cost.depth + 1 };
}

/** An empty branch is also a step of every evaluation, so it counts as one predicate. */
function branchCost(filter: FilterTemplate): FilterCost {
  const cost = filterCost(filter);
  return cost.predicates === 0 ? { ...cost, predicates: 1 } : cost;
}

function predicateCost(predicate: PredicateTemplate): FilterCost {
  switch (predicate.op) {
    case "$not":
    case "$elemMatchValue": {
      const cost = sum(predicate.predicates.map(predicateCost));
      return { ...cost, depth: cost.depth + 1 };
    }
    case "$elemMatch": {
      const cost = branchCost(predicate.filter);
      return { ...cost, depth: cost.depth + 1 };
    }
    case "$in":
    case "$nin":
    case "$all":
      return onePredicate("placeholder" in predicate.values ? 1 : total(predicate.values.map(scalars)));
    case "$type":
      return onePredicate(predicate.types.length);
    case "$mod":
      return onePredicate(2);
    case "$exists":
    case "$size":
    case "$regex":
      return onePredicate(1);
    default:
      return onePredicate(scalars(predicate.value));
  }
}

function onePredicate(values: number): FilterCost {
  return { depth: 0, predicates: 1, values };
}

function sum(costs: readonly FilterCost[]): FilterCost {
  return {
    depth: costs.reduce((depth, cost) => Math.max(depth, cost.depth), 0),
    predicates: total(costs.map((cost) => cost.predicates)),
    values: total(costs.map((cost) => cost.values)),
  };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function scalars(operand: Operand): number {
  if ("placeholder" in operand) return 1;
  if (operand.type !== BSON_TYPE.object && operand.type !== BSON_TYPE.array) return 1;
  const elements = [...elementsOf(operand.bytes, operand.start)];
  return elements.length === 0 ? 1 : total(elements.map(scalars));
}
