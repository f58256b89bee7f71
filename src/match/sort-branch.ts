/** One path of a sort, followed through a document up to a value or an array. */
import { BSON_TYPE, type BsonValue, byteAt, valueEnd } from "./bson-value.ts";
import { findField } from "./elements.ts";
import { isIndex } from "./paths.ts";

export const NULL: BsonValue = { type: BSON_TYPE.null, bytes: new Uint8Array(0), start: 0, end: 0 };
/** Stands for an array without elements; it sorts below null. */
export const UNDEFINED: BsonValue = { ...NULL, type: BSON_TYPE.undefined };

interface PathPart {
  readonly name: Uint8Array;
  readonly isIndex: boolean;
}
type Path = readonly PathPart[];
/** What a path leads to: its value, or an array on the way, and the number of the part that comes next. */
interface Found {
  readonly value: BsonValue | undefined;
  readonly next: number;
}

/** One sorted path, as far as it was followed. */
export interface Branch {
  readonly path: Path;
  /** The number of the part that comes next; at the end of the path there is none. */
  readonly next: number;
  readonly value: BsonValue;
  /** Where it leads if its next part is read as an index of the array around, which is followed only once. */
  readonly indexed?: Found & { readonly isArray: boolean };
}

export const isEnded = ({ path, next }: Branch) => next === path.length;

/** A branch at the beginning of a path. */
export function branchOf(path: string): Branch {
  return { path: partsOf(path), next: 0, value: NULL };
}

function partsOf(path: string): Path {
  return path.split(".").map((name) => ({ name: Buffer.from(name, "utf8"), isIndex: isIndex(name) }));
}

export function ended({ path }: Branch, value: BsonValue): Branch {
  return { path, next: path.length, value };
}

/** A field of the object itself comes before an index of the array that the object lies in. */
export function follow(branch: Branch, object: BsonValue): Found & { readonly isNested: boolean } {
  const { indexed, path, next } = branch;
  const name = path[next]?.name ?? new Uint8Array();
  if (indexed !== undefined && findField(object.bytes, object.start, name) < 0) {
    return { ...indexed, isNested: indexed.isArray };
  }
  return { ...extract(object, path, next), isNested: false };
}

/** Along the path as far as it goes without passing an array. */
export function extract(from: BsonValue, path: Path, first: number): Found {
  const { bytes } = from;
  let { start } = from;
  for (let i = first; i < path.length; i++) {
    const name = path[i]?.name ?? new Uint8Array();
    const found = findField(bytes, start, name);
    if (found < 0) break;
    const type = byteAt(bytes, found);
    start = found + name.length + 2;
    if (type === BSON_TYPE.array || i === path.length - 1) {
      return { value: { type, bytes, start, end: valueEnd(type, bytes, start) }, next: i + 1 };
    }
    if (type !== BSON_TYPE.object) break;
  }
  return { value: undefined, next: path.length };
}
