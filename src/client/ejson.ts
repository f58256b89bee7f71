/**
 * Encodes the values of filters that JSON does not have. A filter that silently lost a type would match other documents, so
 * everything that cannot be expressed is an error.
 */
import { copyFilter, unfit } from "./filter.ts";

interface Extended {
  readonly _bsontype: string;
  readonly toHexString?: () => string;
  readonly toExtendedJSON?: (options: { relaxed: boolean }) => unknown;
}

/**
 * Encodes a value of a filter as MongoDB Extended JSON. Types of the BSON library are recognized by `_bsontype`, so
 * that values of any copy of the library work.
 * @throws {TidewireError} `bad-filter` for values that a filter cannot contain.
 */
export const toEjson = (value: unknown, path = "filter"): unknown => copyFilter(value, path, encodeExtended);

/**
 * Encodes a value that JSON does not have.
 * @throws {TidewireError} `bad-filter` for values that a filter cannot contain.
 */
export function encodeExtended(value: unknown, path: string): unknown {
  if (typeof value === "number") return { $numberDouble: String(value) };
  if (typeof value === "bigint") return { $numberLong: String(value) };
  if (value instanceof Date) return dateToEjson(value, path);
  if (value instanceof RegExp) {
    return { $regularExpression: { pattern: value.source, options: value.flags } };
  }
  if (value instanceof Uint8Array) {
    const base64 = btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join(""));
    return { $binary: { base64, subType: "00" } };
  }
  if (typeof value !== "object") throw unfit(`${path} is ${typeof value}`);
  const { _bsontype } = value as Partial<Extended>; // the BSON library marks its types with it
  if (_bsontype === undefined)
    throw unfit(`${path} is neither a plain object nor a value of the BSON library`);
  return bsonToEjson(value as Extended, path);
}

function dateToEjson(date: Date, path: string): unknown {
  const ms = date.getTime();
  if (Number.isNaN(ms)) throw unfit(`${path} is an invalid date`);
  // Extended JSON uses ISO 8601 only for years up to 9999 and from 1970 on.
  const isIso = ms >= 0 && date.getUTCFullYear() <= 9_999;
  return { $date: isIso ? date.toISOString() : { $numberLong: String(ms) } };
}

function bsonToEjson(value: Extended, path: string): unknown {
  // "ObjectID" is the name in releases of the library before 5.
  if (/^ObjectI[dD]$/.test(value._bsontype) && value.toHexString) return { $oid: value.toHexString() };
  if (value.toExtendedJSON) return value.toExtendedJSON({ relaxed: false });
  throw unfit(`${path} is a ${value._bsontype} that cannot be written as Extended JSON`);
}
