import { type BsonValue, elementsOf } from "../match/bson-value.ts";
import { diffProjected } from "../match/delta.ts";
import { encodeValue } from "../match/encode.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { Cause, DocumentMode, ValueMode } from "../protocol/messages.ts";
import { headOf } from "./chunk.ts";
import type { DocumentEncoder } from "./document-encoder.ts";

/** A change of the result of a live query; not yet encoded. */
export type Change =
  | ({ readonly type: "added"; readonly cause: Cause; readonly document: Uint8Array } & Ordered)
  | ({
      readonly type: "changed";
      readonly cause: Cause;
      readonly document: Uint8Array;
      /** The document before, for a delta. */
      readonly previous: Uint8Array;
    } & Ordered)
  | { readonly type: "removed"; readonly cause: Cause; readonly id: BsonValue };

/** In sorted queries: the `_id` of the document that follows, `null` at the end. */
interface Ordered {
  readonly before?: BsonValue | null;
}

/** An evaluation finds this instead of changes where the events do not tell what happened. */
export const UNKNOWN = "unknown";

const ID_NAME = "_id";

/** The `_id` in a raw document or document key. */
export function idOf(document: Uint8Array): BsonValue {
  for (const element of elementsOf(document)) {
    const { nameStart, nameEnd } = element;
    if (nameEnd - nameStart !== ID_NAME.length) continue;
    if ([...ID_NAME].every((char, at) => document[nameStart + at] === char.charCodeAt(0))) return element;
  }
  throw new TypeError("a document without _id came from the change stream");
}

/** The change as a message of the protocol, as JSON text. */
export function encodeChange(
  change: Change,
  spec: { readonly projection: Projection; readonly documents: DocumentMode },
  cursor: string,
  mode: ValueMode,
  encoder: DocumentEncoder,
): string {
  const head = `${headOf(change.type)}"cursor":"${cursor}","cause":"${change.cause}",`;
  if (change.type === "removed") return `${head}"_id":${encodeValue(change.id, mode)}}`;
  const before = encodeBefore(change.before, mode);
  if (change.type === "changed" && spec.documents === "delta") {
    const delta = encodeDelta(change.previous, change.document, spec.projection, mode);
    if (delta !== undefined)
      return `${head}"_id":${encodeValue(idOf(change.document), mode)}${delta}${before}}`;
  }
  return `${head}"doc":${encoder.encode(change.document, spec.projection, mode)}${before}}`;
}

function encodeBefore(before: BsonValue | null | undefined, mode: ValueMode): string {
  if (before === undefined) return "";
  return `,"before":${before === null ? "null" : encodeValue(before, mode)}`;
}

/** `set` and `unset` as JSON; `undefined` where paths cannot say the difference, and the document has to be sent. */
function encodeDelta(
  previous: Uint8Array,
  document: Uint8Array,
  projection: Projection,
  mode: ValueMode,
): string | undefined {
  const delta = diffProjected(projection, previous, document, mode);
  if (delta === undefined) return undefined;
  const set = delta.set.map(([path, json]) => `${JSON.stringify(path)}:${json}`).join(",");
  const unset = JSON.stringify(delta.unset);
  return `${set === "" ? "" : `,"set":{${set}}`}${delta.unset.length === 0 ? "" : `,"unset":${unset}`}`;
}
