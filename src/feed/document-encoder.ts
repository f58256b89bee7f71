/**
 * Shares encoded documents between live queries. Many live queries of one page show the same document with the same
 * projection, and would otherwise encode it once each.
 */
import { encodeDocument } from "../match/encode.ts";
import { encodeDocumentInSteps } from "../match/encode-steps.ts";
import { canonicalProjection } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { Steps } from "../match/steps.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { ValueMode } from "../protocol/messages.ts";

/** How long documents are kept, in milliseconds. Live queries that share one encode it within the same batch. */
const KEPT_MS = 100;
/** Memory of an entry besides its document and its texts, in bytes; rounded up. */
const ENTRY_BYTES = 300;

/**
 * The memory of a text up to this length is assumed to be two bytes per character, because counting it would take
 * longer than encoding.
 */
const SHORT_TEXT = 1_024;

/**
 * The text of a document for one projection and value mode. Mostly there is only one, so several form a linked list.
 */
interface Encoded {
  readonly key: string;
  readonly text: string;
  readonly next: Encoded | undefined;
}

/**
 * Encodes documents, and keeps the results for a moment, so that live queries with equal projections share the work.
 * Its memory is bounded. It is emptied at the end of a batch, or soon after a catch-up, which has no such end.
 */
export class DocumentEncoder {
  readonly #limitBytes: number;
  readonly #guard: GuardParts;
  readonly #known = new Map<Uint8Array, Encoded>();
  readonly #projectionKeys = new WeakMap<Projection, string>();
  #heldBytes = 0;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(limitBytes: number, guard: GuardParts) {
    this.#limitBytes = limitBytes;
    this.#guard = guard;
  }

  /** Bytes of the documents and texts that are kept. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  encode(document: Uint8Array, projection: Projection, mode: ValueMode): string {
    const key = mode + this.#keyOf(projection);
    const first = this.#known.get(document);
    for (let known = first; known !== undefined; known = known.next) if (known.key === key) return known.text;
    const text = encodeDocument(document, projection, mode);
    this.#remember(document, { key, text, next: first });
    return text;
  }

  /** Like `encode`, in steps. */
  *encodeInSteps(document: Uint8Array, projection: Projection, mode: ValueMode): Steps<string> {
    const key = mode + this.#keyOf(projection);
    for (let known = this.#known.get(document); known !== undefined; known = known.next)
      if (known.key === key) return known.text;
    const text = yield* encodeDocumentInSteps(document, projection, mode);
    // Other live queries may have encoded the document during the pauses.
    this.#remember(document, { key, text, next: this.#known.get(document) });
    return text;
  }

  forget(): void {
    this.#known.clear();
    this.#heldBytes = 0;
  }

  #remember(document: Uint8Array, encoded: Encoded): void {
    const own = ENTRY_BYTES + bytesOf(encoded.text);
    const isHeld = encoded.next !== undefined;
    // When the limit is reached, everything is dropped: encoding again costs time, while keeping everything that a
    // catch-up encodes would need unbounded memory.
    const isOver = this.#heldBytes + own + (isHeld ? 0 : document.length) > this.#limitBytes;
    if (isOver) this.forget();
    const bytes = isHeld && !isOver ? own : own + document.length;
    if (bytes > this.#limitBytes) return;
    this.#known.set(document, isOver ? { ...encoded, next: undefined } : encoded);
    this.#heldBytes += bytes;
    this.#forgetting ??= setTimeout(
      guarded(this.#guard, "encoder.forget", () => {
        this.#forgetting = undefined;
        this.forget();
      }),
      KEPT_MS,
    ).unref();
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

const bytesOf = (text: string): number =>
  text.length <= SHORT_TEXT ? text.length * 2 : Buffer.byteLength(text);
