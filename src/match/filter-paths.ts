import type { FilterTemplate } from "./filter.ts";
export declare function filterPaths(filter: FilterTemplate): readonly string[];
