import { TidewireError } from "../protocol/errors.ts";

interface Extended {
  readonly _bsontype: string;
  readonly toHexString?: () => string;
  readonly toExtendedJSON?: (options: { relaxed: boolean }) => unknown;
}

/**
 * Writes a filter's value as MongoDB Extended JSON. Types of the BSON library are known by `_bsontype`, from
 * whichever copy of it they come.
 * @throws {TidewireError} `bad-filter` for what a filter cannot contain. `undefined` above all: a condition that is left out by
 *   mistake would show more than was asked for.
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
  if ("_bsontype" in value) return bsonToEjson(value as Extended, path); // the mark that the library puts on its types
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
  // Extended JSON writes the years that ISO 8601 knows as such.
  const isIso = ms >= 0 && date.getUTCFullYear() <= 9_999;
  return { $date: isIso ? date.toISOString() : { $numberLong: String(ms) } };
}

function bsonToEjson(value: Extended, path: string): unknown {
  // "ObjectID" is what releases of the library before 5 call it.
  if (/^ObjectI[dD]$/.test(value._bsontype) && value.toHexString) return { $oid: value.toHexString() };
  if (value.toExtendedJSON) return value.toExtendedJSON({ relaxed: false });
  throw unfit(`${path} is a ${value._bsontype} that cannot be written as Extended JSON`);
}

const unfit = (text: string) => new TidewireError("bad-filter", text);
