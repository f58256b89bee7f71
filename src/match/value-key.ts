import type { BsonValue } from "./bson-value.ts";
/** Equal for two values iff the server's `$eq` on them holds. */
export declare function valueKey(value: BsonValue): string;
