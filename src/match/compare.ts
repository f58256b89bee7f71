/**
 * The server's total order of BSON values, which sorting, ranges and equality share. It compares raw bytes, and follows
 * the server wherever that differs from JavaScript: strings by UTF-8 bytes, numbers by exact value, objects field by
 * field.
 */
import { afterCString, BSON_TYPE, type BsonValue, byteAt, int32At, valueEnd } from "./bson-value.ts";
import { compareNumbers } from "./numbers.ts";

/** Types of one class are compared by value, and others by the class alone. */
const CLASS_OF = new Int16Array(256).fill(-2);
const CLASSES: readonly (readonly [number, readonly number[]])[] = [
  [-1, [BSON_TYPE.minKey]],
  [0, [BSON_TYPE.missing, BSON_TYPE.undefined]],
  [5, [BSON_TYPE.null]],
  [10, [BSON_TYPE.double, BSON_TYPE.int, BSON_TYPE.long, BSON_TYPE.decimal]],
  [15, [BSON_TYPE.string, BSON_TYPE.symbol]],
  [20, [BSON_TYPE.object]],
  [25, [BSON_TYPE.array]],
  [30, [BSON_TYPE.binData]],
  [35, [BSON_TYPE.objectId]],
  [40, [BSON_TYPE.bool]],
  [45, [BSON_TYPE.date]],
  [47, [BSON_TYPE.timestamp]],
  [50, [BSON_TYPE.regex]],
  [55, [BSON_TYPE.dbPointer]],
  [60, [BSON_TYPE.code]],
  [65, [BSON_TYPE.codeWithScope]],
  [127, [BSON_TYPE.maxKey]],
];
for (const [rank, types] of CLASSES) for (const type of types) CLASS_OF[type] = rank;

/** The rank of a type's class in the order. Types of equal rank are compared by value. */
export function typeClass(type: number): number {
  return CLASS_OF[type] ?? -2;
}

/** Compares two values. Negative, zero or positive. */
export function compareValues(a: BsonValue, b: BsonValue): number {
  return compareAt(a.type, a.bytes, a.start, b.type, b.bytes, b.start);
}

/** `compareValues` without the view objects: each value is a type, a buffer and an offset. */
function compareAt(
  typeA: number,
  a: Uint8Array,
  atA: number,
  typeB: number,
  b: Uint8Array,
  atB: number,
): number {
  const classes = typeClass(typeA) - typeClass(typeB);
  return classes === 0 ? compareSameClass(typeA, a, atA, typeB, b, atB) : classes;
}

/** Like `compareAt`, for types that are known to be of one class. */
export function compareSameClass(
  typeA: number,
  a: Uint8Array,
  atA: number,
  typeB: number,
  b: Uint8Array,
  atB: number,
): number {
  switch (typeA) {
    case BSON_TYPE.double:
    case BSON_TYPE.int:
    case BSON_TYPE.long:
    case BSON_TYPE.decimal:
      return compareNumbers(typeA, a, atA, typeB, b, atB);
    case BSON_TYPE.string:
    case BSON_TYPE.symbol:
    case BSON_TYPE.code:
      return compareStrings(a, atA, b, atB);
    case BSON_TYPE.object:
    case BSON_TYPE.array:
      return compareElements(a, atA, b, atB, typeA === BSON_TYPE.object);
    case BSON_TYPE.bool:
      return byteAt(a, atA) - byteAt(b, atB);
    case BSON_TYPE.objectId:
      return compareBytes(a, atA, 12, b, atB, 12);
    case BSON_TYPE.date:
      return int32At(a, atA + 4) - int32At(b, atB + 4) || unsignedDifference(a, atA, b, atB);
    case BSON_TYPE.timestamp:
      return unsignedDifference(a, atA + 4, b, atB + 4) || unsignedDifference(a, atA, b, atB);
    default:
      return compareRareTypes(typeA, a, atA, b, atB);
  }
}

function compareRareTypes(type: number, a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  switch (type) {
    case BSON_TYPE.binData:
      // Length first, then the subtype (which is stored before the bytes), then the bytes.
      return (
        int32At(a, atA) - int32At(b, atB) ||
        compareBytes(a, atA + 4, int32At(a, atA) + 1, b, atB + 4, int32At(b, atB) + 1)
      );
    case BSON_TYPE.regex:
      return (
        compareCStrings(a, atA, b, atB) || compareCStrings(a, afterCString(a, atA), b, afterCString(b, atB))
      );
    case BSON_TYPE.dbPointer: {
      const sizes = int32At(a, atA) - int32At(b, atB);
      const size = int32At(a, atA) + 16;
      return sizes || compareBytes(a, atA, size, b, atB, size);
    }
    case BSON_TYPE.codeWithScope: {
      // The format: int32 of the whole length, the code as a string, the scope as a document.
      const code = compareStrings(a, atA + 4, b, atB + 4);
      if (code !== 0) return code;
      const scopeA = valueEnd(BSON_TYPE.string, a, atA + 4);
      return compareElements(a, scopeA, b, valueEnd(BSON_TYPE.string, b, atB + 4), true);
    }
    default:
      // null, undefined, missing, MinKey, MaxKey: values of one class are equal.
      return 0;
  }
}

/** Compares element by element: first the type class, then (in objects) the name, then the value. */
function compareElements(a: Uint8Array, atA: number, b: Uint8Array, atB: number, named: boolean): number {
  let i = atA + 4;
  let j = atB + 4;
  while (true) {
    const typeA = byteAt(a, i);
    const typeB = byteAt(b, j);
    if (typeA === 0) return typeB === 0 ? 0 : -1;
    if (typeB === 0) return 1;
    const valueA = afterCString(a, i + 1);
    const valueB = afterCString(b, j + 1);
    const difference =
      typeClass(typeA) - typeClass(typeB) ||
      (named ? compareBytes(a, i + 1, valueA - i - 1, b, j + 1, valueB - j - 1) : 0) ||
      compareSameClass(typeA, a, valueA, typeB, b, valueB);
    if (difference !== 0) return difference;
    i = valueEnd(typeA, a, valueA);
    j = valueEnd(typeB, b, valueB);
  }
}

/** Lexical order of unsigned bytes. If one begins with the other, the shorter is first. */
export function compareBytes(
  a: Uint8Array,
  atA: number,
  sizeA: number,
  b: Uint8Array,
  atB: number,
  sizeB: number,
): number {
  const size = Math.min(sizeA, sizeB);
  for (let i = 0; i < size; i++) {
    const difference = byteAt(a, atA + i) - byteAt(b, atB + i);
    if (difference !== 0) return difference;
  }
  return sizeA - sizeB;
}

/** Compares UTF-8 bytes, which gives the order of code points. JavaScript compares UTF-16 units, which differs. */
function compareStrings(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  return compareBytes(a, atA + 4, int32At(a, atA) - 1, b, atB + 4, int32At(b, atB) - 1);
}

function compareCStrings(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  return compareBytes(a, atA, afterCString(a, atA) - atA, b, atB, afterCString(b, atB) - atB);
}

function unsignedDifference(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  return (int32At(a, atA) >>> 0) - (int32At(b, atB) >>> 0);
}
