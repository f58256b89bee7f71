import { encodeDocument } from "../match/encode.ts";
import { canonicalProjection, type Projection } from "../match/projection.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { ValueMode } from "../protocol/messages.ts";

/** Documents are remembered no longer than this, in milliseconds: live queries that share one encode it in one go. */
const KEPT_MS = 100;
/** Memory of an entry besides its document and its texts, in bytes; rounded up. */
const ENTRY_BYTES = 300;

/**
 * Encodes documents, and remembers them for a moment: live queries with equal projections share the work. Its
 * memory is bounded. It is emptied at the end of a batch, or soon after a catch-up, which has no such end.
 */
export class DocumentEncoder {
  readonly #limitBytes: number;
  readonly #guard: GuardParts;
  readonly #known = new Map<Uint8Array, Map<string, string>>();
  readonly #projectionKeys = new WeakMap<Projection, string>();
  #heldBytes = 0;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(limitBytes: number, guard: GuardParts) {
    this.#limitBytes = limitBytes;
    this.#guard = guard;
  }

  /** Bytes of the documents and texts that are remembered. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  encode(document: Uint8Array, projection: Projection, mode: ValueMode): string {
    const key = mode + this.#keyOf(projection);
    const known = this.#known.get(document)?.get(key);
    if (known !== undefined) return known;
    const text = encodeDocument(document, projection, mode);
    this.#remember(document, key, text);
    return text;
  }

  forget(): void {
    this.#known.clear();
    this.#heldBytes = 0;
  }

  #remember(document: Uint8Array, key: string, text: string): void {
    const own = ENTRY_BYTES + Buffer.byteLength(text);
    const isHeld = this.#known.has(document);
    // Encoding again costs time; keeping everything that a catch-up encodes would cost memory without a bound.
    const isOver = this.#heldBytes + own + (isHeld ? 0 : document.length) > this.#limitBytes;
    if (isOver) this.forget();
    const bytes = isHeld && !isOver ? own : own + document.length;
    if (bytes > this.#limitBytes) return;
    const texts = this.#known.get(document) ?? new Map<string, string>();
    texts.set(key, text);
    this.#known.set(document, texts);
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
