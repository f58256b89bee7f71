const FINAL_TEXT_FRAME = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

const headerBytes = (payload: number) => (payload < LENGTH_16 ? 2 : payload < 0x1_0000 ? 4 : 10);

/** Texts as unmasked WebSocket text frames, one after another in one buffer (RFC 6455, 5.2). */
export function joinFrames(texts: readonly string[]): Buffer {
  const sizes = texts.map((text) => Buffer.byteLength(text));
  let total = 0;
  for (const size of sizes) total += headerBytes(size) + size;
  const frames = Buffer.allocUnsafeSlow(total);
  let at = 0;
  for (const [index, text] of texts.entries()) {
    const size = sizes[index] ?? 0;
    at = writeHeader(frames, at, size);
    at += frames.write(text, at, size, "utf8");
  }
  return frames;
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
