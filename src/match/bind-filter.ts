import type { BsonValue } from "./bson-value.ts";
import type { Filter, FilterTemplate, Placeholder } from "./filter.ts";
export interface PlaceholderResolver {
  one(placeholder: Placeholder): BsonValue;
  many(placeholder: Placeholder): readonly BsonValue[];
}
export declare function bindFilter(template: FilterTemplate, resolve: PlaceholderResolver): Filter;
/** Whether `find` would take the value as a value wherever it stands (no regex, no `$` keys, not undefined). */
export declare function isBindable(value: BsonValue): boolean;
