/**
 * Loops over the elements of raw BSON that allocate nothing, because they run for every document and every live query.
 */
import { afterCString, byteAt, valueEnd } from "./bson-value.ts";

/** Tests one found value. `true` ends the walk. A missing field has the type `BSON_TYPE.missing`. */
export type ValueTest = (type: number, bytes: Uint8Array, at: number) => boolean;

/** Whether the test holds for some element of the document or array at `at`. */
export function someElement(bytes: Uint8Array, at: number, test: ValueTest): boolean {
  let offset = at + 4;
  for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
    const value = afterCString(bytes, offset + 1);
    if (test(type, bytes, value)) return true;
    offset = valueEnd(type, bytes, value);
  }
  return false;
}

/** The offset of the element with this name (its type byte), or -1. */
export function findField(bytes: Uint8Array, at: number, name: Uint8Array): number {
  let offset = at + 4;
  for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
    if (isNamed(bytes, offset + 1, name)) return offset;
    offset = valueEnd(type, bytes, afterCString(bytes, offset + 1));
  }
  return -1;
}

/** Whether the name at `at` equals this one. */
export function isNamed(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return false;
  return bytes[at + name.length] === 0;
}
