/** The paths of a sort, and the walk of one path through a document up to a value or an array. */
import type { SortSpec } from "../protocol/messages.ts";
import { BSON_TYPE, type BsonValue, byteAt, valueEnd } from "./bson-value.ts";
import { compareValues } from "./compare.ts";
import { findField } from "./elements.ts";
import { isIndex } from "./paths.ts";

/** The value of a missing field, which sorts like null. */
export const NULL: BsonValue = { type: BSON_TYPE.null, bytes: new Uint8Array(0), start: 0, end: 0 };
/** Represents an array without elements. It sorts below null. */
export const UNDEFINED: BsonValue = { ...NULL, type: BSON_TYPE.undefined };

/** One value for each sorted path. */
export type Tuple = readonly BsonValue[];

interface PathPart {
  readonly name: Uint8Array;
  /** Equal names have equal numbers, in whichever path they are. */
  readonly nameNumber: number;
  readonly isIndex: boolean;
}

/** One path of a sort. */
export type SortPath = readonly PathPart[];

/** All paths of a sort. */
export interface SortPaths {
  readonly paths: readonly SortPath[];
  readonly directions: readonly (1 | -1)[];
  /** All names in the paths, each once. */
  readonly names: readonly Uint8Array[];
}

/** Splits the paths of a sort. */
export function sortPathsOf(spec: SortSpec): SortPaths {
  const numbers = new Map<string, number>();
  const numberOf = (name: string) => {
    const known = numbers.get(name) ?? numbers.size;
    numbers.set(name, known);
    return known;
  };
  const paths = spec.map(([path]) =>
    path.split(".").map((name) => ({
      name: Buffer.from(name, "utf8"),
      nameNumber: numberOf(name),
      isIndex: isIndex(name),
    })),
  );
  const names = [...numbers.keys()].map((name) => Buffer.from(name, "utf8"));
  return { paths, directions: spec.map(([, direction]) => direction), names };
}

/** Where a path leads: to its value, or to an array on the way or at the end. */
export interface Found {
  /** `NULL` if the path leads to nothing. */
  readonly value: BsonValue;
  /** At an array, the number of the next part. */
  readonly next: number;
}

/** The result of a path that leads to nothing. */
export const NOTHING: Found = { value: NULL, next: 0 };

/** Follows a path from the field of part number `first`, as far as possible without entering an array. */
export function extractFrom(bytes: Uint8Array, field: number, path: SortPath, first: number): Found {
  let found = field;
  for (let i = first; ; i++) {
    const type = byteAt(bytes, found);
    const start = found + (path[i]?.name.length ?? 0) + 2;
    if (type === BSON_TYPE.array || i === path.length - 1) {
      return { value: { type, bytes, start, end: valueEnd(type, bytes, start) }, next: i + 1 };
    }
    if (type !== BSON_TYPE.object) return NOTHING;
    found = findField(bytes, start, path[i + 1]?.name ?? new Uint8Array());
    if (found < 0) return NOTHING;
  }
}

/** The order of two values, which is quick if they are the same bytes. */
export function compareOne(a: BsonValue, b: BsonValue): number {
  // Otherwise a large array would be compared with itself for each element of the array that leads to it.
  if (a === b || (a.bytes === b.bytes && a.start === b.start && a.type === b.type)) return 0;
  return compareValues(a, b);
}

/** The order of two tuples under a sort. */
export function compareTuples(a: Tuple, b: Tuple, directions: readonly (1 | -1)[]): number {
  for (let i = 0; i < directions.length; i++) {
    const order = compareOne(a[i] ?? NULL, b[i] ?? NULL);
    if (order !== 0) return order * (directions[i] ?? 1);
  }
  return 0;
}
