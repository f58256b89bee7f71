import type { Filter } from "./filter.ts";
export declare function canonicalFilter(filter: Filter): string;
export declare function andFilters(...filters: readonly Filter[]): Filter;
