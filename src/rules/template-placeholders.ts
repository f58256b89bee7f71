import { bindFilter } from "../match/bind-filter.ts";
import { fromJs } from "../match/bson-value.ts";
import type { FilterTemplate, Placeholder } from "../match/filter.ts";
import { lookupOf, NOW } from "./claims.ts";

/** A lookup that is used where one value is required. */
export function singleLookup(template: FilterTemplate): string | null {
  const found = placeholdersOf(template).single.findLast((operand) => lookupOf(operand) !== undefined);
  return found?.placeholder ?? null;
}

/** Whether the documents of a template depend on `%%now`, by the template itself or by a lookup in it. */
export function usesNow(
  template: FilterTemplate,
  lookups: ReadonlyMap<string, { readonly filter: FilterTemplate }>,
): boolean {
  const { single, lists } = placeholdersOf(template);
  if (single.some(({ placeholder }) => placeholder === NOW)) return true;
  const named = lists.flatMap((operand) => lookups.get(lookupOf(operand) ?? "") ?? []);
  return named.some(({ filter }) =>
    placeholdersOf(filter).single.some(({ placeholder }) => placeholder === NOW),
  );
}

/** The placeholders of a template, separated by whether one value or a list replaces them. */
function placeholdersOf(template: FilterTemplate): { single: Placeholder[]; lists: Placeholder[] } {
  const single: Placeholder[] = [];
  const lists: Placeholder[] = [];
  bindFilter(template, {
    one: (operand) => {
      single.push(operand);
      return fromJs(0);
    },
    many: (operand) => {
      lists.push(operand);
      return [];
    },
  });
  return { single, lists };
}
