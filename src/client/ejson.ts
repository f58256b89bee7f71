/**
 * Encodes filters. JSON cannot express most types of MongoDB, and a filter that silently lost a type would match other
 * documents, so everything that cannot be expressed is an error.
 */
import { TidewireError } from "../protocol/errors.ts";

interface Extended {
  readonly _bsontype: string;
  readonly toHexString?: () => string;
  readonly toExtendedJSON?: (options: { relaxed: boolean }) => unknown;
}

/**
 * Encodes a value of a filter as MongoDB Extended JSON. Types of the BSON library are recognized by `_bsontype`, so
 * that values of any copy of the library work.
 * @throws {TidewireError} `bad-filter` for values that a filter cannot contain. Above all `undefined`: a condition that
 *   is omitted by mistake would show more than was asked for.
 */
export function toEjson(value: unknown, path = "filter"): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : { $numberDouble: String(value) };
    case "bigint":
      return { $numberLong: String(value) };
    case "object":
      return value === null ? null : objectToEjson(value, path);
    default:
      throw unfit(`${path} is ${typeof value}`);
  }
}

function objectToEjson(value: object, path: string): unknown {
  if (Array.isArray(value)) return value.map((item, index) => toEjson(item, `${path}.${index}`));
  if (value instanceof Date) return dateToEjson(value, path);
  if (value instanceof RegExp) {
    return { $regularExpression: { pattern: value.source, options: value.flags } };
  }
  if (value instanceof Uint8Array) {
    const base64 = btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join(""));
    return { $binary: { base64, subType: "00" } };
  }
  if ("_bsontype" in value) return bsonToEjson(value as Extended, path); // the BSON library marks its types with it
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw unfit(`${path} is neither a plain object nor a value of the BSON library`);
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, toEjson(inner, `${path}.${key}`)]),
  );
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

const unfit = (text: string) => new TidewireError("bad-filter", text);
