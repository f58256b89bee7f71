/**
 * An answer in gzip (RFC 1952) that is put together from parts compressed once for all clients. The parts of this client
 * alone are stored as they are.
 */
import { crc32 } from "node:zlib";
import { EMPTY_BLOCK_REST } from "../../feed/chunk.ts";
import { STORED_BYTES_MAX, STORED_HEADER_BYTES, writeStoredHeader } from "./stored-block.ts";

/** Magic number, DEFLATE, no flags, no time, no hints, unknown system. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** The last block, which is empty (RFC 1951, 3.2.4). */
const LAST_BLOCK = Buffer.from([1, 0, 0, 0xff, 0xff]);
const WORD = 0x1_0000_0000;

/** Makes the bytes of one answer, part by part. */
export class GzipAnswer {
  #crc = 0;
  #bytes = 0;

  /** The bytes in front of the first part. */
  begin(): Buffer {
    return HEADER;
  }

  /** A text as it is. */
  stored(text: string): Buffer {
    const bytes = this.#count(text);
    const blocks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += STORED_BYTES_MAX) {
      const part = bytes.subarray(at, at + STORED_BYTES_MAX);
      const header = Buffer.allocUnsafe(STORED_HEADER_BYTES);
      writeStoredHeader(header, 0, part.length);
      blocks.push(header, part);
    }
    return Buffer.concat(blocks);
  }

  /** A text in its shared form. @param rest As in `Deflated`. */
  shared(text: string, rest: Buffer): Buffer {
    this.#count(text);
    return Buffer.concat([rest, EMPTY_BLOCK_REST]);
  }

  /** The bytes behind the last part. */
  end(): Buffer {
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#bytes % WORD, 4);
    return Buffer.concat([LAST_BLOCK, trailer]);
  }

  #count(text: string): Buffer {
    const bytes = Buffer.from(text);
    this.#crc = crc32(bytes, this.#crc);
    this.#bytes += bytes.length;
    return bytes;
  }
}
