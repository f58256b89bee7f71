/**
 * Estimates the processing cost of a filter before it is accepted. A small filter can be expensive (nested arrays
 * multiply), so a limit on its size is not enough.
 */
import type { SortSpec } from "../protocol/messages.ts";
import type { FilterTemplate, OperandList, PredicateTemplate } from "./filter.ts";
import { indexesIn } from "./paths.ts";

/** The assumed number of elements of an array. Documents are not known in advance, so this is an estimate. */
const ARRAY_ELEMENTS = 16;
/** The size of a document limits how far nested arrays multiply one another. */
const ELEMENTS_MAX = 256;
/** A regular expression reads a whole string, while a comparison mostly reads its first bytes. */
const REGEX_WORK = 8;

/**
 * Estimates the work of a live query on one document: of its filter, and of the sort values if the document matches.
 */
export function queryWork({ filter, sort }: { filter: FilterTemplate; sort: SortSpec | null }): number {
  return filterWork(filter) + sortWork(sort ?? []);
}

/**
 * Each path of a sort is followed through the elements of one array. A part that may be an index is also followed as a
 * name, so each of them may lead to a different value.
 */
function sortWork(sort: SortSpec): number {
  return sort.reduce(
    (work, [path]) => work + path.split(".").length + ARRAY_ELEMENTS * (1 + indexesIn(path)),
    0,
  );
}

/**
 * Estimates the work of evaluating a filter on one document, in units of one predicate on one value. A predicate costs
 * one unit for each part of its path, plus the elements of the array at its end. `$elemMatch` evaluates its filter on
 * each element. A list of values is a set, so its length adds only a logarithm.
 */
export function filterWork(filter: FilterTemplate): number {
  return workOf(filter, 1);
}

/** @param elements The number of elements of outer arrays on which the filter is evaluated. */
function workOf(filter: FilterTemplate, elements: number): number {
  if (filter.op === "path") {
    return filter.path.split(".").length * elements + predicateWork(filter.predicate, elements);
  }
  return filter.filters.reduce((work, branch) => work + workOf(branch, elements), elements);
}

function predicateWork(predicate: PredicateTemplate, elements: number): number {
  const inArray = Math.min(elements * ARRAY_ELEMENTS, ELEMENTS_MAX);
  switch (predicate.op) {
    case "$not":
      return predicate.predicates.reduce((work, inner) => work + predicateWork(inner, elements), elements);
    case "$elemMatchValue":
      return predicate.predicates.reduce((work, inner) => work + predicateWork(inner, inArray), inArray);
    case "$elemMatch":
      return workOf(predicate.filter, inArray);
    case "$in":
    case "$nin":
    case "$all":
      return inArray * (1 + Math.log2(1 + lengthOf(predicate.values)));
    case "$regex":
      return inArray * REGEX_WORK;
    default:
      return inArray;
  }
}

function lengthOf(values: OperandList): number {
  return "placeholder" in values ? 1 : values.length;
}
