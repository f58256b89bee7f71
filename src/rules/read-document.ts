import { BSON } from "mongodb";
import { isPlainObject } from "../match/read-literal.ts";

/** Parses a handwritten document in Extended JSON to BSON; `undefined` if it is not valid. */
export function readDocument(value: Readonly<Record<string, unknown>>): Uint8Array | undefined {
  try {
    const document = withMaps(BSON.EJSON.deserialize({ ...value }, { relaxed: false }));
    return BSON.serialize(document as BSON.Document);
  } catch {
    // The library's messages describe its internals. The caller names the allowed form.
    return undefined;
  }
}

/** Converts objects to maps, in which no key (`_bsontype`, `toBSON`) has a meaning for the serializer. */
function withMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withMaps);
  // The library accepts any text as a date, and would write an invalid one as 1970.
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError("not a date");
  if (!isPlainObject(value)) return value;
  return new Map(Object.entries(value).map(([name, inner]) => [name, withMaps(inner)]));
}
