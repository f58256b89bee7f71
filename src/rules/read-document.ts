import { BSON } from "mongodb";

/** A document written by hand, in Extended JSON, as BSON; `undefined` where it is none. */
export function readDocument(value: Readonly<Record<string, unknown>>): Uint8Array | undefined {
  try {
    return BSON.serialize(BSON.EJSON.deserialize({ ...value }, { relaxed: false }));
  } catch {
    // The library's texts name its own internals; what is allowed, the caller says.
    return undefined;
  }
}
