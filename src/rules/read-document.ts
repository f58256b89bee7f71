import { BSON } from "mongodb";
import { isPlainObject } from "../match/read-literal.ts";

/** A document written by hand, in Extended JSON, as BSON; `undefined` where it is none. */
export function readDocument(value: Readonly<Record<string, unknown>>): Uint8Array | undefined {
  try {
    const document = withMaps(BSON.EJSON.deserialize({ ...value }, { relaxed: false }));
    return BSON.serialize(document as BSON.Document);
  } catch {
    // The library's texts name its own internals; what is allowed, the caller says.
    return undefined;
  }
}

/** Objects as maps, in which no key (`_bsontype`, `toBSON`) has a meaning for the serializer. */
function withMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withMaps);
  // The library reads any text as a date, and would write what is none as 1970.
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError("not a date");
  if (!isPlainObject(value)) return value;
  return new Map(Object.entries(value).map(([name, inner]) => [name, withMaps(inner)]));
}
