import { BSON_TYPE, type BsonValue, valueEnd } from "./bson-value.ts";
import { compilePath } from "./path-walk.ts";

/**
 * Makes a function that gives the scalars and objects under a path, each as a copy; an array gives its elements.
 * Missing fields and null give nothing.
 */
export function compilePathValues(path: string): (document: Uint8Array) => BsonValue[] {
  const walk = compilePath(path, true);
  return (document) => {
    const values: BsonValue[] = [];
    walk(document, 0, (type, bytes, at) => {
      const isNothing = type === BSON_TYPE.missing || type === BSON_TYPE.null || type === BSON_TYPE.undefined;
      if (isNothing || type === BSON_TYPE.array) return false;
      const copy = Buffer.from(bytes.subarray(at, valueEnd(type, bytes, at)));
      values.push({ type, bytes: copy, start: 0, end: copy.length });
      return false;
    });
    return values;
  };
}
