/**
 * The value of a path as the server's aggregation expressions find it, for `$group`. Filters find values differently:
 * here a number in a path is never an index, and an array gives the array of its objects' values.
 */
import { afterCString, BSON_TYPE, type BsonValue, byteAt, valueEnd } from "./bson-value.ts";
import { findField } from "./elements.ts";
import { arrayOf } from "./write-bson.ts";

/** Finds the value of one path in a document; `missing` if there is none. */
export type ExpressionPath = (document: Uint8Array) => BsonValue;

const MISSING: BsonValue = { type: BSON_TYPE.missing, bytes: new Uint8Array(0), start: 0, end: 0 };

export function compileExpressionPath(path: string): ExpressionPath {
  const names = path.split(".").map((part) => Buffer.from(part, "utf8"));
  return (document) => valueIn(names, 0, document, 0);
}

function valueIn(names: readonly Uint8Array[], from: number, bytes: Uint8Array, at: number): BsonValue {
  let start = at;
  for (let i = from; ; i++) {
    const name = names[i];
    if (name === undefined) return MISSING;
    const found = findField(bytes, start, name);
    if (found < 0) return MISSING;
    const type = byteAt(bytes, found);
    const value = found + name.length + 2;
    if (i === names.length - 1) return { type, bytes, start: value, end: valueEnd(type, bytes, value) };
    if (type === BSON_TYPE.array) return valuesIn(names, i + 1, bytes, value);
    if (type !== BSON_TYPE.object) return MISSING;
    start = value;
  }
}

/** The values in the objects of an array. Other elements, arrays included, contribute nothing. */
function valuesIn(names: readonly Uint8Array[], from: number, bytes: Uint8Array, at: number): BsonValue {
  const values: BsonValue[] = [];
  let offset = at + 4;
  for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
    const value = afterCString(bytes, offset + 1);
    if (type === BSON_TYPE.object) {
      const found = valueIn(names, from, bytes, value);
      if (found.type !== BSON_TYPE.missing) values.push(found);
    }
    offset = valueEnd(type, bytes, value);
  }
  return arrayOf(values);
}
