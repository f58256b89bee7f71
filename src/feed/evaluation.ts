/**
 * Decides which changes a commit makes to a result. It compares the documents before and after each write and keeps no
 * state about clients, so the same commit gives the same changes for live delivery, catch-up and resumption.
 */
import { compileFilter } from "../match/compile-filter.ts";
import type { Filter } from "../match/filter.ts";
import { compileFilterInSteps } from "../match/filter-steps.ts";
import { projectedEqual } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { projectedEqualInSteps } from "../match/projection-steps.ts";
import type { Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type ChangeEvent, hasImages, isChangeEvent, type StreamEvent } from "../source/change-event.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import { imageBytesOf, piecesOf, STEP_BYTES } from "./pieces.ts";
import type { Touched, TouchedDocument } from "./window-changes.ts";

const NONE: readonly Change[] = [];

/** Whether the event tells its effect on a result of its collection. */
function tellsEffect(event: StreamEvent): event is ChangeEvent {
  return isChangeEvent(event) && hasImages(event);
}

/**
 * Decides the effect of events on a result from the documents before and after alone, without any record of which
 * client has which document. Live changes, catch-up and resumption therefore agree.
 */
export class Evaluation {
  readonly #namespace: string;
  readonly #matches: (document: Uint8Array) => boolean;
  readonly #filter: Filter;
  /** Compiled on first use, because most live queries never see a large document. */
  #matchesInSteps: ((document: Uint8Array) => Steps<boolean>) | undefined;
  /** Whether large documents match. Created on first use. */
  #decided: WeakMap<Uint8Array, boolean> | undefined;
  /** Whether two large documents look equal, by the later one. Created on first use. */
  #compared: WeakMap<Uint8Array, { readonly before: Uint8Array; readonly isEqual: boolean }> | undefined;
  readonly #projection: Projection;

  constructor(namespace: string, filter: Filter, projection: Projection) {
    this.#namespace = namespace;
    this.#matches = compileFilter(filter);
    this.#filter = filter;
    this.#projection = projection;
  }

  /** The changes of one commit, in the order of its events; `UNKNOWN` if an image is missing. */
  of(events: readonly StreamEvent[]): readonly Change[] | typeof UNKNOWN {
    const [only] = events;
    // An array literal of one element takes a fifth of the memory of an array that grows, and it is kept as long as the
    // history.
    if (events.length === 1 && only !== undefined) {
      const change = this.#ofEvent(only);
      return typeof change === "object" ? [change] : (change ?? NONE);
    }
    const changes: Change[] = [];
    for (const event of events) {
      const change = this.#ofEvent(event);
      if (change === UNKNOWN) return UNKNOWN;
      if (change !== undefined) changes.push(change);
    }
    return changes;
  }

  /** Like `of`, with pauses between pieces of the commit. */
  *inSteps(events: readonly StreamEvent[]): Generator<void, readonly Change[] | typeof UNKNOWN> {
    const changes: Change[] = [];
    for (const piece of piecesOf(events)) {
      yield* this.#decideInSteps(piece);
      const found = this.of(piece);
      if (found === UNKNOWN) return UNKNOWN;
      changes.push(...found);
      yield;
    }
    return changes;
  }

  /** Like `touchedBy`, with pauses between pieces of the commit. */
  *touchedInSteps(
    events: readonly StreamEvent[],
    touched: Map<string, TouchedDocument> = new Map(),
  ): Generator<void, Touched | typeof UNKNOWN> {
    for (const piece of piecesOf(events)) {
      yield* this.#decideInSteps(piece, touched);
      if (this.touchedBy(piece, touched) === UNKNOWN) return UNKNOWN;
      yield;
    }
    return touched;
  }

  /** @param touched The effect of earlier events of the commit, if documents are compared across events. */
  *#decideInSteps(piece: readonly StreamEvent[], touched?: Touched): Steps<void> {
    const [event] = piece;
    if (event === undefined || event.namespace !== this.#namespace || imageBytesOf(event) <= STEP_BYTES)
      return;
    if (!tellsEffect(event)) return;
    this.#matchesInSteps ??= compileFilterInSteps(this.#filter);
    this.#decided ??= new WeakMap();
    const decided = this.#decided;
    for (const document of [event.before, event.after]) {
      if (document === undefined || decided.has(document)) continue;
      decided.set(document, yield* this.#matchesInSteps(document));
      yield;
    }
    const known = touched?.get(valueKey(idOf(event.documentKey)));
    const previous = known === undefined ? this.#ifMatching(event.before) : known.previous;
    const document = this.#ifMatching(event.after);
    if (previous !== undefined && document !== undefined) yield* this.#compareInSteps(previous, document);
  }

  *#compareInSteps(before: Uint8Array, after: Uint8Array): Steps<void> {
    this.#compared ??= new WeakMap();
    if (this.#compared.get(after)?.before === before) return;
    const isEqual = yield* projectedEqualInSteps(this.#projection, before, after);
    this.#compared.set(after, { before, isEqual });
    yield;
  }

  /** Whether two documents look equal under the projection. */
  #areEqual(before: Uint8Array, after: Uint8Array): boolean {
    const known = this.#compared?.get(after);
    return known?.before === before ? known.isEqual : projectedEqual(this.#projection, before, after);
  }

  #isMatch(document: Uint8Array): boolean {
    return this.#decided?.get(document) ?? this.#matches(document);
  }

  #ofEvent(event: StreamEvent): Change | typeof UNKNOWN | undefined {
    if (event.namespace !== this.#namespace) return undefined;
    return tellsEffect(event) ? this.#changeOf(event) : UNKNOWN;
  }

  /**
   * The effect of a commit on the documents of the unlimited result, by the key of their `_id`. Only the first and the
   * last state count, because nothing in between was ever visible. `UNKNOWN` if an image is missing.
   * @param touched The effect of earlier commits, to which that of this one is added.
   */
  touchedBy(
    events: readonly StreamEvent[],
    touched: Map<string, TouchedDocument> = new Map(),
  ): Touched | typeof UNKNOWN {
    for (const event of events) {
      if (event.namespace !== this.#namespace) continue;
      if (!tellsEffect(event)) return UNKNOWN;
      const id = valueKey(idOf(event.documentKey));
      const effect = this.#effectOf(event, touched.get(id));
      if (effect !== null) touched.set(id, effect);
    }
    return touched;
  }

  /**
   * The effect of a commit that is one event; `null` if its document neither was in the unlimited result nor is. `UNKNOWN` if
   * an image is missing.
   */
  touchedByOne(event: StreamEvent): TouchedDocument | typeof UNKNOWN | null {
    if (event.namespace !== this.#namespace) return null;
    if (!tellsEffect(event)) return UNKNOWN;
    return this.#effectOf(event, undefined);
  }

  /** @param earlier The effect of earlier events of the commit on the same document. */
  #effectOf(event: ChangeEvent, earlier: TouchedDocument | undefined): TouchedDocument | null {
    const { operation: cause, documentKey, before, after } = event;
    const previous = earlier === undefined ? this.#ifMatching(before) : earlier.previous;
    const document = this.#ifMatching(after);
    if (earlier === undefined && previous === undefined && document === undefined) return null;
    const isVisiblyChanged =
      previous === undefined || document === undefined || !this.#areEqual(previous, document);
    return { cause, documentKey, previous, document, isVisiblyChanged };
  }

  #ifMatching(document: Uint8Array | undefined): Uint8Array | undefined {
    return document !== undefined && this.#isMatch(document) ? document : undefined;
  }

  /**
   * Applies a commit to documents of this query, by the key of their `_id`, with pauses between pieces of it. The state
   * after an event does not depend on the state before it, so events whose effect the documents already contain do no
   * harm.
   * @throws {TidewireError} `unavailable` if an image is missing.
   */
  *applyInSteps(documents: Map<string, Uint8Array>, events: readonly StreamEvent[]): Steps<void> {
    for (const piece of piecesOf(events)) {
      yield* this.#decideInSteps(piece);
      this.#applyTo(documents, piece);
      yield;
    }
  }

  #applyTo(documents: Map<string, Uint8Array>, events: readonly StreamEvent[]): void {
    for (const event of events) {
      if (event.namespace !== this.#namespace) continue;
      if (!tellsEffect(event)) {
        throw new TidewireError("unavailable", "the collection changed while it was read: try again");
      }
      const key = valueKey(idOf(event.documentKey));
      if (event.after !== undefined && this.#isMatch(event.after)) documents.set(key, event.after);
      else documents.delete(key);
    }
  }

  #changeOf({ operation, before, after, documentKey }: ChangeEvent): Change | undefined {
    const cause = operation;
    const matchedBefore = before !== undefined && this.#isMatch(before);
    const matchesNow = after !== undefined && this.#isMatch(after);
    if (!matchesNow) return matchedBefore ? { type: "removed", cause, id: idOf(documentKey) } : undefined;
    if (!matchedBefore) return { type: "added", cause, document: after };
    // A write to fields that this client may not see must not show, not even as a message without news.
    if (this.#areEqual(before, after)) return undefined;
    return { type: "changed", cause, document: after, previous: before };
  }
}
