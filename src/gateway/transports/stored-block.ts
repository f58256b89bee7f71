/** Blocks of DEFLATE that are stored and not compressed (RFC 1951, 3.2.4). */

/** Size of the header of a stored block, in bytes. */
export const STORED_HEADER_BYTES = 5;
/** The length of a stored block has 16 bits. */
export const STORED_BYTES_MAX = 0xff_ff;

/** Writes the header of a stored block: its type, its length, and the length with all bits inverted. */
export function writeStoredHeader(buffer: Buffer, at: number, size: number): number {
  buffer[at] = 0;
  buffer.writeUInt16LE(size, at + 1);
  return buffer.writeUInt16LE(STORED_BYTES_MAX - size, at + 3);
}
