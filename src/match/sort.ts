import type { SortSpec } from "../protocol/messages.ts";
import type { BsonValue } from "./bson-value.ts";
export type SortKey = readonly BsonValue[];
export interface Sort {
  key(document: Uint8Array): SortKey;
  compare(a: SortKey, b: SortKey): number;
}
/** @throws {TidewireError} `bad-filter` */
export declare function parseSort(input: unknown): SortSpec;
export declare function compileSort(spec: SortSpec): Sort;
