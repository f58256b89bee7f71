import type { FilterCost, FilterTemplate } from "./filter.ts";
export declare function filterCost(filter: FilterTemplate): FilterCost;
