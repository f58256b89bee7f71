// Frames are built here and not by `ws`, so that one buffer can be written to every connection that receives the same
// changes.
import { type Chunk, type Deflated, EMPTY_BLOCK_REST, headOf } from "../../feed/chunk.ts";
import { STORED_HEADER_BYTES, writeStoredHeader } from "./stored-block.ts";

const FINAL_TEXT_FRAME = 0x81;
/** RFC 7692, 6: the first reserved bit says that the message is compressed. */
const COMPRESSED = 0x40;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

const headerBytes = (payload: number) => (payload < LENGTH_16 ? 2 : payload < 0x1_0000 ? 4 : 10);

/** Encodes texts as unmasked WebSocket text frames, one after another in one buffer (RFC 6455, 5.2). */
export function joinFrames(messages: readonly { readonly text: string }[]): Buffer {
  let total = 0;
  for (const { text } of messages) total += frameBytes(text);
  // Small buffers come from Node's pool. Separate memory would cost more than filling it, and these buffers are
  // short-lived.
  const frames = Buffer.allocUnsafe(total);
  let at = 0;
  for (const { text } of messages) at = writeFrame(frames, at, text);
  return frames;
}

/** Encodes one text as a frame. */
export const toFrame = (text: string): Buffer => joinFrames([{ text }]);

function frameBytes(text: string): number {
  const size = Buffer.byteLength(text);
  return headerBytes(size) + size;
}

function writeFrame(frames: Buffer, at: number, text: string): number {
  const size = Buffer.byteLength(text);
  const start = writeHeader(frames, at, size);
  return start + frames.write(text, start, size, "utf8");
}

/** Writes a text as a stored block. @returns Where the next block begins. */
function writeStored(buffer: Buffer, at: number, text: string): number {
  const start = writeStoredHeader(buffer, at, Buffer.byteLength(text));
  return start + buffer.write(text, start, "utf8");
}

/** Size of a text as a stored block, in bytes. */
const storedBytes = (text: string): number => STORED_HEADER_BYTES + Buffer.byteLength(text);

/** The head of a message of a chunk, which may have been numbered. */
export function headIn(chunk: Chunk, index: number): string {
  const message = chunk.messages[index];
  const encoded = chunk.base.messages[index];
  if (message === undefined || encoded === undefined) throw new Error("a chunk has no such message");
  const size = headOf(encoded.type).length + message.text.length - encoded.text.length;
  return message.text.slice(0, size);
}

/**
 * As `joinFrames`, with the messages compressed that have a compressed form (RFC 7692).
 */
export function joinDeflatedFrames(chunk: Chunk, { rests }: Deflated): Buffer {
  const frames = chunk.messages.map(({ text }, index) => {
    const rest = rests[index] ?? null;
    return rest === null ? toFrame(text) : toDeflatedFrame(headIn(chunk, index), rest);
  });
  return frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames);
}

/** One compressed message as a frame. @param end Text that follows the compressed part. */
export function toDeflatedFrame(head: string, rest: Buffer, end = ""): Buffer {
  // The receiver adds the rest of an empty block to the message, so the message ends with the beginning of one.
  const endBytes = end === "" ? 0 : EMPTY_BLOCK_REST.length + storedBytes(end) + 1;
  const size = storedBytes(head) + rest.length + endBytes;
  const frame = Buffer.allocUnsafe(headerBytes(size) + size);
  let at = writeStored(frame, writeHeader(frame, 0, size, COMPRESSED), head);
  at += rest.copy(frame, at);
  if (end === "") return frame;
  at += EMPTY_BLOCK_REST.copy(frame, at);
  frame[writeStored(frame, at, end)] = 0;
  return frame;
}

function writeHeader(frames: Buffer, at: number, size: number, flags = 0): number {
  frames[at] = FINAL_TEXT_FRAME | flags;
  if (size < LENGTH_16) {
    frames[at + 1] = size;
    return at + 2;
  }
  if (size < 0x1_0000) {
    frames[at + 1] = LENGTH_16;
    return frames.writeUInt16BE(size, at + 2);
  }
  frames[at + 1] = LENGTH_64;
  frames.writeUInt32BE(Math.floor(size / 0x1_0000_0000), at + 2);
  return frames.writeUInt32BE(size % 0x1_0000_0000, at + 6);
}
