import type { Filter } from "./filter.ts";
export declare function compileFilter(filter: Filter): (document: Uint8Array) => boolean;
