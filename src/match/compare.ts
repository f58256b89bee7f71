import type { BsonValue } from "./bson-value.ts";
/** The server's order over all BSON values. */
export declare function compareValues(a: BsonValue, b: BsonValue): number;
