/**
 * Encodes large documents as JSON text, in steps. Only the loops over large values are here; everything else is shared
 * with `encode.ts`, so that both give the same result.
 */
import { StringDecoder } from "node:string_decoder";
import type { ValueMode } from "../protocol/messages.ts";
import { asBuffer, BSON_TYPE, byteAt, int32At } from "./bson-value.ts";
import {
  ARRAY_END,
  ARRAY_START,
  BINARY_HEAD,
  binaryStart,
  binaryTail,
  COMMA,
  OBJECT_END,
  OBJECT_START,
  QUOTE,
  writeCode,
  writeName,
  writeValue,
} from "./encode.ts";
import { JsonWriter } from "./json-writer.ts";
import type { Projection } from "./projection-fields.ts";
import { StepPace, type Steps } from "./steps.ts";
import { VisibleElements } from "./visible-elements.ts";

/** How much of one value is written in one step, in bytes. Divisible by 3, so that pieces of base64 need no padding. */
const PIECE_BYTES = 3 * 16_384;

/** A UUID has a text form of its own, and is small. */
const UUID_BYTES = 21;

/** Like `encodeDocument`, in steps. */
export function* encodeDocumentInSteps(
  document: Uint8Array,
  projection: Projection,
  mode: ValueMode,
  pace = new StepPace(),
): Steps<string> {
  const text = new TextInSteps(mode, pace);
  yield* text.elements(new VisibleElements(projection, document, 0, false), false);
  return text.finish();
}

/** Like `encodeVisible`, in steps. */
export function* encodeVisibleInSteps(
  element: VisibleElements,
  mode: ValueMode,
  pace: StepPace,
): Steps<string> {
  const text = new TextInSteps(mode, pace);
  yield* text.value(element);
  return text.finish();
}

/** The text of one value. It has its own writer, because other values are encoded during its pauses. */
class TextInSteps {
  readonly #writer = new JsonWriter();
  /** Decodes pieces, which may end within a character. */
  readonly #decoder = new StringDecoder("utf8");
  readonly #mode: ValueMode;
  readonly #pace: StepPace;
  #text = "";

  constructor(mode: ValueMode, pace: StepPace) {
    this.#mode = mode;
    this.#pace = pace;
  }

  finish(): string {
    this.#flush();
    return this.#text + this.#decoder.end();
  }

  /** Writes the elements of a document or array, including the brackets. */
  *elements(elements: VisibleElements, isArray: boolean): Steps<void> {
    const [writer, mode, pace] = [this.#writer, this.#mode, this.#pace];
    writer.byte(isArray ? ARRAY_START : OBJECT_START);
    let isFirst = true;
    while (elements.advance()) {
      if (elements.isVisible) {
        const { type, bytes, start, shown } = elements;
        if (!isArray) writeName(writer, elements, isFirst);
        else if (!isFirst) writer.byte(COMMA);
        isFirst = false;
        if (elements.end - start > pace.smallBytes) yield* this.value(elements);
        else writeValue(writer, type, bytes, start, shown, mode);
      }
      if (pace.isOver(elements.size)) yield this.#flush();
    }
    writer.byte(isArray ? ARRAY_END : OBJECT_END);
  }

  /** Writes the visible part of a large value, at which the cursor is. */
  *value({ type, bytes, start, end, shown }: VisibleElements): Steps<void> {
    const writer = this.#writer;
    if (type === BSON_TYPE.object || type === BSON_TYPE.array) {
      const isArray = type === BSON_TYPE.array;
      yield* this.elements(new VisibleElements(shown, bytes, start, isArray), isArray);
    } else if (type === BSON_TYPE.string) {
      writer.byte(QUOTE);
      for (const [from, to] of pieces(start + 4, start + 3 + int32At(bytes, start))) {
        writer.inString(bytes, from, to);
        yield this.#flush();
      }
      writer.byte(QUOTE);
    } else if (type === BSON_TYPE.binData && end - start > UUID_BYTES) {
      writer.ascii(BINARY_HEAD[this.#mode]);
      for (const [from, to] of pieces(binaryStart(bytes, start), end)) {
        writer.ascii(asBuffer(bytes).toString("base64", from, to));
        yield this.#flush();
      }
      writer.ascii(binaryTail(byteAt(bytes, start + 4), this.#mode));
    } else if (type === BSON_TYPE.codeWithScope) {
      yield* this.elements(writeCode(writer, bytes, start), false);
      writer.byte(OBJECT_END);
    } else writeValue(writer, type, bytes, start, shown, this.#mode);
  }

  #flush(): void {
    this.#text += this.#decoder.write(this.#writer.take());
  }
}

function* pieces(start: number, end: number): Generator<readonly [from: number, to: number]> {
  for (let at = start; at < end; at += PIECE_BYTES) yield [at, Math.min(end, at + PIECE_BYTES)];
}
