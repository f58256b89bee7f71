import type { FilterTemplate, PredicateTemplate } from "./filter.ts";

/**
 * Every path of a document that some predicate reads, each once. Nested `$elemMatch` are joined by dots. An
 * `$elemMatch` without conditions still reads its own path.
 */
export function filterPaths(filter: FilterTemplate): readonly string[] {
  const paths = new Set<string>();
  collect(filter, "", paths);
  return [...paths];
}

function collect(filter: FilterTemplate, prefix: string, paths: Set<string>): void {
  if (filter.op === "path") {
    const path = prefix === "" ? filter.path : `${prefix}.${filter.path}`;
    for (const deeper of elementFilters(filter.predicate)) {
      if (deeper === undefined) paths.add(path);
      else collect(deeper, path, paths);
    }
  } else {
    if (filter.filters.length === 0 && prefix !== "") paths.add(prefix);
    for (const branch of filter.filters) collect(branch, prefix, paths);
  }
}

/** The filters on elements in a predicate; `undefined` if the predicate reads the value itself. */
function elementFilters(predicate: PredicateTemplate): readonly (FilterTemplate | undefined)[] {
  switch (predicate.op) {
    case "$elemMatch":
      return [predicate.filter];
    case "$not":
    case "$elemMatchValue":
      return predicate.predicates.flatMap(elementFilters);
    default:
      return [undefined];
  }
}
