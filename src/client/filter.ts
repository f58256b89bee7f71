/** Copies filters. A filter that silently lost a value would match other documents, so such a value is an error. */
import { TidewireError } from "../protocol/errors.ts";
import { lacksPart, type Part } from "./part.ts";

/**
 * Copies a filter, or a value in it.
 * @param encode Encodes values that JSON does not have.
 * @throws {TidewireError} `bad-filter` for values that a filter cannot contain. Above all `undefined`: a condition that
 *   is omitted by mistake would show more than was asked for.
 * @throws {TypeError} JSON does not have the value, and nothing encodes it.
 */
export function copyFilter(value: unknown, path: string, encode: Part["extended"]): unknown {
  const type = typeof value;
  if (value === null || type === "string" || type === "boolean" || Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map((item, index) => copyFilter(item, `${path}.${index}`, encode));
  if (isPlain(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, copyFilter(inner, `${path}.${key}`, encode)]),
    );
  }
  if (value === undefined) throw unfit(`${path} is undefined`);
  if (!encode) throw lacksPart("extended", path);
  return encode(value, path);
}

function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null || "_bsontype" in value) return false; // the BSON library marks its types
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The error for a value that a filter cannot contain. */
export const unfit = (text: string) => new TidewireError("bad-filter", text);
