/**
 * Gives one form to all values that the server calls equal, so that the `_id` of a group does not depend on which of
 * its documents came first.
 */
import { BSON_TYPE, type BsonValue, elementsOf } from "./bson-value.ts";
import { decimalAt, equalDouble, integerPartAt, isInteger } from "./numbers.ts";
import { decimalValue, nearestDecimal } from "./rounding.ts";
import { arrayOf, documentOf, double, int32, int64 } from "./write-bson.ts";

const INT32_MAX = 2n ** 31n - 1n;

/**
 * The value with each number in the first type that holds it, of int, long, double and decimal, and each symbol as a
 * string. It lies in memory of its own.
 */
export function oneSpelling(value: BsonValue): BsonValue {
  const { type, bytes, start, end } = value;
  switch (type) {
    case BSON_TYPE.int:
    case BSON_TYPE.long:
    case BSON_TYPE.double:
    case BSON_TYPE.decimal:
      return numberSpelling(value);
    case BSON_TYPE.object:
    case BSON_TYPE.array:
      return elementsSpelling(value);
    case BSON_TYPE.symbol:
      return copyOf(BSON_TYPE.string, bytes, start, end);
    default:
      return copyOf(type, bytes, start, end);
  }
}

function numberSpelling({ type, bytes, start }: BsonValue): BsonValue {
  const integer = integerPartAt(type, bytes, start);
  if (integer !== undefined && isInteger(type, bytes, start, integer))
    return integer <= INT32_MAX && integer >= -INT32_MAX - 1n ? int32(Number(integer)) : int64(integer);
  const exact = equalDouble(type, bytes, start);
  if (exact !== undefined) return double(exact);
  const decimal = decimalAt(bytes, start);
  // Infinities and NaN become doubles.
  if (typeof decimal === "number") return double(decimal);
  return decimal.coefficient === 0n ? decimalValue(false, 0n, 0) : nearestDecimal(decimal);
}

function elementsSpelling({ type, bytes, start }: BsonValue): BsonValue {
  const elements = [...elementsOf(bytes, start)];
  if (type === BSON_TYPE.array) return arrayOf(elements.map(oneSpelling));
  return documentOf(
    elements.map((element) => [
      Buffer.from(bytes.subarray(element.nameStart, element.nameEnd)).toString("utf8"),
      oneSpelling(element),
    ]),
  );
}

function copyOf(type: number, bytes: Uint8Array, start: number, end: number): BsonValue {
  const copy = new Uint8Array(bytes.subarray(start, end));
  return { type, bytes: copy, start: 0, end: copy.length };
}
