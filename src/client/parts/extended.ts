import { encodeExtended } from "../ejson.ts";
import type { Part } from "../part.ts";

/** For filters with values that JSON does not have: `Date`, `RegExp`, `bigint`, bytes, and the types of the BSON library. */
export const extended: Part = { extended: encodeExtended };
