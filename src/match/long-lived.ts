/**
 * Memory for small values that are kept, such as the operands of filters. Node cuts small buffers from slabs of 8 KiB,
 * and each live query would otherwise keep a slab of values that ended long ago.
 */

const SLAB_BYTES = 8_192;
/** Larger values have memory of their own. */
const SHARED_MAX = 512;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let used = 0;

/** A copy of a value that is kept. Only such values share its memory. */
export function longLivedCopy(bytes: Uint8Array): Buffer {
  const copy = room(bytes.length);
  copy.set(bytes);
  return copy;
}

function room(size: number): Buffer {
  if (size > SHARED_MAX) return Buffer.allocUnsafeSlow(size);
  if (used + size > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  used += size;
  return slab.subarray(used - size, used);
}
