/** A file that is not UTF-8. */
export class NotUtf8 extends Error {
  override readonly name = "NotUtf8";
  /** The offset of the first invalid byte, counted from 0. */
  readonly offset: number;

  constructor(offset: number) {
    super(`the file is not UTF-8: the byte at offset ${offset} begins no character. Save it as UTF-8`);
    this.offset = offset;
  }
}

/**
 * Reads bytes as UTF-8. Other readers put U+FFFD in the place of what is none, and a name becomes another name.
 * @throws {NotUtf8}
 */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new NotUtf8(firstFault(bytes));
  }
}

/** The first byte that differs when the decoded text is encoded again. */
function firstFault(bytes: Uint8Array): number {
  const again = Buffer.from(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  const at = bytes.findIndex((byte, index) => again[index] !== byte);
  return at < 0 ? bytes.length : at;
}
