import { byteAt } from "./bson-value.ts";

const INITIAL_BYTES = 16 * 1_024;
/** A larger buffer, made for one large document, is not kept. */
const MAX_KEPT_BYTES = 1_024 * 1_024;

/** Room is made for the worst case, so a long string goes in pieces. */
const CHUNK_BYTES = 4_096;
/** `\u0000`. */
const MAX_ESCAPE = 6;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DIGITS = Buffer.from("0123456789abcdef");

/**
 * Writes JSON as UTF-8 and makes one string of it at the end: text of BSON is UTF-8 already and is copied as it is,
 * where a string for each value would be a native call for each.
 */
export class JsonWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;
  #isAscii = true;

  /** Returns the written text and empties the writer. Bytes that are not UTF-8 become U+FFFD. */
  finish(): string {
    const text = this.#bytes.toString(this.#isAscii ? "latin1" : "utf8", 0, this.#length);
    this.reset();
    return text;
  }

  /** The bytes written so far, valid until more is written; empties the writer. */
  take(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return written;
  }

  /** Forgets what was written. */
  reset(): void {
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES);
    this.#length = 0;
    this.#isAscii = true;
  }

  /** One ASCII character. */
  byte(code: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = code;
  }

  /** ASCII text, as it is. */
  ascii(text: string): void {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  /** Any JSON text. */
  json(text: string): void {
    const size = Buffer.byteLength(text);
    if (size !== text.length) this.#isAscii = false;
    this.#reserve(size);
    this.#length += this.#bytes.write(text, this.#length, "utf8");
  }

  /** A string of BSON, in quotes. */
  string(bytes: Uint8Array, start: number, end: number): void {
    this.byte(QUOTE);
    this.inString(bytes, start, end);
    this.byte(QUOTE);
  }

  /** A part of a string of BSON, without quotes. */
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

  /** Bytes as hexadecimal digits, without quotes. */
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
