import { byteAt } from "./bson-value.ts";

const INITIAL_BYTES = 16 * 1_024;
/** A larger buffer was made for one large document, and is not kept. */
const MAX_KEPT_BYTES = 1_024 * 1_024;

/** Space is reserved for the worst case, so a long string is written in pieces of this many bytes. */
const CHUNK_BYTES = 4_096;
/** `\u0000`. */
const MAX_ESCAPE = 6;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DIGITS = Buffer.from("0123456789abcdef");

/**
 * Writes JSON as UTF-8, and makes one string of it at the end. Strings in BSON are UTF-8 already and are copied
 * unchanged, while making a JavaScript string of each would be a native call per value.
 */
export class JsonWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;
  #isAscii = true;

  /** Returns the written text and empties the writer. Bytes that are not valid UTF-8 become U+FFFD. */
  finish(): string {
    const text = this.#bytes.toString(this.#isAscii ? "latin1" : "utf8", 0, this.#length);
    this.reset();
    return text;
  }

  /** The bytes written so far, valid until more is written. Empties the writer. */
  take(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return written;
  }

  /** Discards the written text. */
  reset(): void {
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES);
    this.#length = 0;
    this.#isAscii = true;
  }

  /** Writes one ASCII character. */
  byte(code: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = code;
  }

  /** Writes ASCII text unchanged. */
  ascii(text: string): void {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  /** Writes any JSON text. */
  json(text: string): void {
    const size = Buffer.byteLength(text);
    if (size !== text.length) this.#isAscii = false;
    this.#reserve(size);
    this.#length += this.#bytes.write(text, this.#length, "utf8");
  }

  /** Writes a string of BSON, in quotes. */
  string(bytes: Uint8Array, start: number, end: number): void {
    this.byte(QUOTE);
    this.inString(bytes, start, end);
    this.byte(QUOTE);
  }

  /** Writes a part of a string of BSON, without quotes. */
  inString(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; at += CHUNK_BYTES)
      this.#escaped(bytes, at, Math.min(end, at + CHUNK_BYTES));
  }

  #escaped(bytes: Uint8Array, start: number, end: number): void {
    this.#reserve((end - start) * MAX_ESCAPE);
    const out = this.#bytes;
    let length = this.#length;
    for (let i = start; i < end; i++) {
      const byte = byteAt(bytes, i);
      if (byte < 0x20) {
        length = escapeControl(out, length, byte);
        continue;
      }
      if (byte > 0x7e) this.#isAscii = false;
      else if (byte === QUOTE || byte === BACKSLASH) out[length++] = BACKSLASH;
      out[length++] = byte;
    }
    this.#length = length;
  }

  /** Writes bytes as hexadecimal digits, without quotes. */
  hex(bytes: Uint8Array, start: number, end: number): void {
    this.#reserve((end - start) * 2);
    for (let i = start; i < end; i++) {
      const byte = byteAt(bytes, i);
      this.#bytes[this.#length++] = byteAt(DIGITS, byte >> 4);
      this.#bytes[this.#length++] = byteAt(DIGITS, byte & 15);
    }
  }

  #reserve(size: number): void {
    if (this.#length + size > this.#bytes.length) this.#grow(size);
  }

  #grow(size: number): void {
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + size));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

/** `\u00XX`. */
function escapeControl(out: Uint8Array, at: number, byte: number): number {
  out[at] = BACKSLASH;
  out[at + 1] = 0x75;
  out[at + 2] = 0x30;
  out[at + 3] = 0x30;
  out[at + 4] = byteAt(DIGITS, byte >> 4);
  out[at + 5] = byteAt(DIGITS, byte & 15);
  return at + 6;
}
