import type { Filter, FilterTemplate, Placeholder } from "./filter.ts";
export interface FilterOptions {
  readonly regex: "prefix" | "subset";
  readonly maxDepth?: number;
  readonly maxPredicates?: number;
  readonly maxValues?: number;
  readonly path?: (key: string) => string;
}
export interface TemplateOptions extends FilterOptions {
  readonly placeholder: (text: string) => Placeholder | undefined;
}
/** @throws {TidewireError} `bad-filter` */
export declare function parseFilter(input: unknown, options: FilterOptions): Filter;
/** @throws {TidewireError} `bad-filter` */
export declare function parseFilterTemplate(input: unknown, options: TemplateOptions): FilterTemplate;
