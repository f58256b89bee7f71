// Frames are built here and not by `ws`, so that one buffer can be written to every connection that receives the same
// changes.
const FINAL_TEXT_FRAME = 0x81;
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

function writeHeader(frames: Buffer, at: number, size: number): number {
  frames[at] = FINAL_TEXT_FRAME;
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
