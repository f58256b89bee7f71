import { asBuffer, byteAt } from "./bson-value.ts";

/** The cache keeps this many names of at most this many bytes. A newer name replaces an older one in its slot. */
const SLOTS = 1_024;
const MAX_BYTES = 64;

interface Kept {
  readonly bytes: Uint8Array;
  readonly text: string;
}

const kept: (Kept | undefined)[] = new Array<undefined>(SLOTS).fill(undefined);

/**
 * The text of a field name. The documents of a collection share a few names, and comparing bytes costs a fraction of
 * decoding them.
 */
export function fieldNameAt(bytes: Uint8Array, start: number, end: number): string {
  const size = end - start;
  if (size > MAX_BYTES) return decode(bytes, start, end);
  let hash = size;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + byteAt(bytes, i)) | 0;
  const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
  const found = kept[slot];
  if (found !== undefined && found.bytes.length === size && isAt(bytes, start, found.bytes))
    return found.text;
  const text = decode(bytes, start, end);
  // A copy, because a slice would keep the buffer of the whole document in memory.
  kept[slot] = { bytes: new Uint8Array(bytes.subarray(start, end)), text };
  return text;
}

function isAt(bytes: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(bytes).toString("utf8", start, end);
}
