import { type BsonValue, elementsOf } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import { encodeDocument, encodeValue } from "../match/encode.ts";
import type { Filter } from "../match/filter.ts";
import { canonicalProjection, type Projection, projectedEqual } from "../match/projection.ts";
import { valueKey } from "../match/value-key.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Cause, ValueMode } from "../protocol/messages.ts";
import type { ChangeEvent, StreamEvent } from "../source/change-event.ts";

/** What one write did to the result of a live query; not yet encoded. */
export type Change =
  | { readonly type: "added" | "changed"; readonly cause: Cause; readonly document: Uint8Array }
  | { readonly type: "removed"; readonly cause: Cause; readonly documentKey: Uint8Array };

/** The one thing an evaluation can say besides changes: what happened is not to be told from these events. */
export const UNKNOWN = "unknown";

/**
 * Decides what events do to a result from the document before and after alone, without any memory of who
 * holds what: the same for live changes, catch-up and resumption.
 */
export class Evaluation {
  readonly #namespace: string;
  readonly #matches: (document: Uint8Array) => boolean;
  readonly #projection: Projection;

  constructor(namespace: string, filter: Filter, projection: Projection) {
    this.#namespace = namespace;
    this.#matches = compileFilter(filter);
    this.#projection = projection;
  }

  /** The changes of one commit, in the order of its events; `UNKNOWN` where an image is missing. */
  of(events: readonly StreamEvent[]): Change[] | typeof UNKNOWN {
    const changes: Change[] = [];
    for (const event of events) {
      if (event.namespace !== this.#namespace) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) return UNKNOWN;
      const change = this.#changeOf(event);
      if (change !== undefined) changes.push(change);
    }
    return changes;
  }

  /**
   * Applies events to documents of this query, by the key of their `_id`. What an event leaves does not depend
   * on what was there before, so it does no harm if the documents hold it already.
   * @throws {TidewireError} `unavailable` where an image is missing.
   */
  applyTo(documents: Map<string, Uint8Array>, events: readonly StreamEvent[]): void {
    for (const event of events) {
      if (event.namespace !== this.#namespace) continue;
      if (event.operation === "replaced-collection" || !hasImages(event)) {
        throw new TidewireError("unavailable", "the collection changed while it was read: try again");
      }
      const key = valueKey(idOf(event.documentKey));
      if (event.after !== undefined && this.#matches(event.after)) documents.set(key, event.after);
      else documents.delete(key);
    }
  }

  #changeOf({ operation, before, after, documentKey }: ChangeEvent): Change | undefined {
    const cause = operation;
    const matchedBefore = before !== undefined && this.#matches(before);
    const matchesNow = after !== undefined && this.#matches(after);
    if (!matchesNow) return matchedBefore ? { type: "removed", cause, documentKey } : undefined;
    if (!matchedBefore) return { type: "added", cause, document: after };
    // A write to fields that nobody here may see must not show, not even by a message without news.
    if (projectedEqual(this.#projection, before, after)) return undefined;
    return { type: "changed", cause, document: after };
  }
}

/** Whether the event bears the documents that its operation has. */
export function hasImages({ operation, before, after }: ChangeEvent): boolean {
  if (operation === "insert") return after !== undefined;
  if (operation === "delete") return before !== undefined;
  return before !== undefined && after !== undefined;
}

/**
 * Encodes documents, remembering those of the batch at hand: live queries with equal projections share the
 * work. `forget` ends a batch, so that nothing is kept beyond it.
 */
export class DocumentEncoder {
  readonly #known = new Map<Uint8Array, Map<string, string>>();
  readonly #projectionKeys = new WeakMap<Projection, string>();

  encode(document: Uint8Array, projection: Projection, mode: ValueMode): string {
    let texts = this.#known.get(document);
    if (texts === undefined) {
      texts = new Map();
      this.#known.set(document, texts);
    }
    const key = mode + this.#keyOf(projection);
    let text = texts.get(key);
    if (text === undefined) {
      text = encodeDocument(document, projection, mode);
      texts.set(key, text);
    }
    return text;
  }

  forget(): void {
    this.#known.clear();
  }

  #keyOf(projection: Projection): string {
    let key = this.#projectionKeys.get(projection);
    if (key === undefined) {
      key = canonicalProjection(projection);
      this.#projectionKeys.set(projection, key);
    }
    return key;
  }
}

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
  spec: { readonly query: number; readonly projection: Projection },
  cursor: string,
  mode: ValueMode,
  encoder: DocumentEncoder,
): string {
  const head = `{"type":"${change.type}","query":${spec.query},"cursor":"${cursor}","cause":"${change.cause}",`;
  if (change.type === "removed") return `${head}"_id":${encodeValue(idOf(change.documentKey), mode)}}`;
  return `${head}"doc":${encoder.encode(change.document, spec.projection, mode)}}`;
}
