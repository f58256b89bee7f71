/**
 * The changes of a result, and their form as messages. A change keeps raw BSON until it is encoded, because it may be
 * encoded for several value modes or for none.
 */
import { type BsonValue, elementsOf } from "../match/bson-value.ts";
import { diffProjectedInSteps } from "../match/delta.ts";
import { encodeValue } from "../match/encode.ts";
import type { Projection } from "../match/projection-fields.ts";
import { runThrough, SMALL_BYTES, StepPace, type Steps } from "../match/steps.ts";
import type { Cause, DocumentMode, ValueMode } from "../protocol/messages.ts";
import { headOf } from "./chunk.ts";
import type { DocumentEncoder } from "./document-encoder.ts";

/** A change of the result of a live query, not yet encoded. */
export type Change =
  | ({ readonly type: "added"; readonly cause: Cause; readonly document: Uint8Array } & Ordered)
  | ({
      readonly type: "changed";
      readonly cause: Cause;
      readonly document: Uint8Array;
      /** The document before the change, for a delta. */
      readonly previous: Uint8Array;
    } & Ordered)
  | {
      readonly type: "removed";
      readonly cause: Cause;
      readonly id: BsonValue;
      /** Of a row: as it was before. */
      readonly previous?: Uint8Array;
    };

/** In sorted queries: the `_id` of the following document; `null` at the end. */
interface Ordered {
  readonly before?: BsonValue | null;
}

/** A change that contains a document. */
export type ContentChange = Exclude<Change, { type: "removed" }>;

/** The result of an evaluation whose events do not contain enough to decide what changed. */
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

/** The properties of a live query that decide how its changes are encoded. */
export interface ChangeForm {
  readonly projection: Projection;
  readonly documents: DocumentMode;
}

/** Whether a change is so large that it is encoded in steps. */
export function isLargeChange(change: Change): change is ContentChange {
  if (change.type === "removed") return false;
  return (
    change.document.length > SMALL_BYTES ||
    (change.type === "changed" && change.previous.length > SMALL_BYTES)
  );
}

/** Encodes a change as a message of the protocol, as JSON text. */
export function encodeChange(
  change: Change,
  form: ChangeForm,
  cursor: string,
  mode: ValueMode,
  encoder: DocumentEncoder,
): string {
  if (change.type === "removed") return toMessage(change, cursor, mode, encodeId(change.id, mode));
  const content = hasDelta(change, form) ? runThrough(encodeDelta(change, form.projection, mode)) : undefined;
  return toMessage(
    change,
    cursor,
    mode,
    content ?? `"doc":${encoder.encode(change.document, form.projection, mode)}`,
  );
}

/** Like `encodeChange`, in steps. */
export function* encodeChangeInSteps(
  change: ContentChange,
  form: ChangeForm,
  cursor: string,
  mode: ValueMode,
  encoder: DocumentEncoder,
): Steps<string> {
  const delta = hasDelta(change, form) ? yield* encodeDelta(change, form.projection, mode) : undefined;
  if (delta !== undefined) return toMessage(change, cursor, mode, delta);
  const document = yield* encoder.encodeInSteps(change.document, form.projection, mode);
  return toMessage(change, cursor, mode, `"doc":${document}`);
}

const hasDelta = (change: Change, { documents }: ChangeForm): change is Change & { type: "changed" } =>
  change.type === "changed" && documents === "delta";

const encodeId = (id: BsonValue, mode: ValueMode): string => `"_id":${encodeValue(id, mode)}`;

function toMessage(change: Change, cursor: string, mode: ValueMode, content: string): string {
  const head = `${headOf(change.type)}"cursor":"${cursor}","cause":"${change.cause}",`;
  return `${head}${content}${change.type === "removed" ? "" : encodeBefore(change.before, mode)}}`;
}

function encodeBefore(before: BsonValue | null | undefined, mode: ValueMode): string {
  if (before === undefined) return "";
  return `,"before":${before === null ? "null" : encodeValue(before, mode)}`;
}

/**
 * Encodes `_id`, `set` and `unset` as JSON; `undefined` if paths cannot express the difference, so that the whole
 * document must be sent.
 */
function* encodeDelta(
  { previous, document }: Change & { type: "changed" },
  projection: Projection,
  mode: ValueMode,
): Steps<string | undefined> {
  const delta = yield* diffProjectedInSteps(projection, previous, document, mode);
  if (delta === undefined) return undefined;
  const pace = new StepPace();
  let set = "";
  for (const [path, json] of delta.set) {
    set += `${set === "" ? "" : ","}${JSON.stringify(path)}:${json}`;
    if (pace.isOver(json.length)) yield;
  }
  let unset = "";
  for (const path of delta.unset) {
    unset += `${unset === "" ? "" : ","}${JSON.stringify(path)}`;
    if (pace.isOver(path.length)) yield;
  }
  const id = encodeId(idOf(document), mode);
  return `${id}${set === "" ? "" : `,"set":{${set}}`}${unset === "" ? "" : `,"unset":[${unset}]`}`;
}
