import {
  afterCString,
  asBuffer,
  BSON_TYPE,
  type BsonValue,
  byteAt,
  int32At,
  valueEnd,
} from "./bson-value.ts";
import { typeClass } from "./compare.ts";
import { numberKey } from "./numbers.ts";

/**
 * A string that is equal for two values if and only if the server's `$eq` holds between them: `1`, `1.0` and
 * `NumberDecimal("1.00")` share one. `_id`s may have any type, and this key identifies them as well.
 */
export function valueKey(value: BsonValue): string {
  return valueKeyAt(value.type, value.bytes, value.start);
}

/** The key of null, undefined and a missing field, all of which `$eq: null` matches. */
const NULL_KEY = "5:";

/** `valueKey` without the view object. */
export function valueKeyAt(type: number, bytes: Uint8Array, at: number): string {
  if (type === BSON_TYPE.undefined || type === BSON_TYPE.missing) return NULL_KEY;
  return `${typeClass(type)}:${contentKey(type, bytes, at)}`;
}

function contentKey(type: number, bytes: Uint8Array, at: number): string {
  switch (type) {
    case BSON_TYPE.double:
    case BSON_TYPE.int:
    case BSON_TYPE.long:
    case BSON_TYPE.decimal:
      return numberKey(type, bytes, at);
    case BSON_TYPE.string:
    case BSON_TYPE.symbol:
      return latin1(bytes, at + 4, at + 3 + int32At(bytes, at));
    case BSON_TYPE.object:
    case BSON_TYPE.array:
      return elementsKey(bytes, at, type === BSON_TYPE.object);
    case BSON_TYPE.codeWithScope: {
      const scope = valueEnd(BSON_TYPE.string, bytes, at + 4);
      return withLength(latin1(bytes, at + 4, scope)) + elementsKey(bytes, scope, true);
    }
    default:
      return latin1(bytes, at, valueEnd(type, bytes, at));
  }
}

/** One character per byte. Unlike decoded text, this distinguishes strings that are not valid UTF-8. */
function latin1(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(bytes).toString("latin1", start, end);
}

function withLength(text: string): string {
  return `${text.length}:${text}`;
}

/** Every part is preceded by its length, so that no two lists of parts give the same text. */
function elementsKey(bytes: Uint8Array, start: number, named: boolean): string {
  let key = "";
  let at = start + 4;
  for (let type = byteAt(bytes, at); type !== 0; type = byteAt(bytes, at)) {
    const value = afterCString(bytes, at + 1);
    if (named) key += withLength(latin1(bytes, at + 1, value - 1));
    // Inside a document, undefined differs from null.
    key += withLength(`${typeClass(type)}:${contentKey(type, bytes, value)}`);
    at = valueEnd(type, bytes, value);
  }
  return key;
}
