/**
 * Finds the values of a dotted path on raw BSON, as the server does (`src/mongo/db/matcher/path.cpp`). Found values are
 * passed as type, buffer and offset, so that walking allocates nothing.
 */
import { AmbiguousPath, type PathPart } from "./ambiguous-path.ts";
import { afterCString, BSON_TYPE, byteAt, valueEnd } from "./bson-value.ts";
import { findField, isNamed, someElement, type ValueTest } from "./elements.ts";
import { longLivedCopy } from "./long-lived.ts";
import { isIndex } from "./paths.ts";

/** Tests the values of one path, in the document or array that starts at `at`, until one test succeeds. */
export type PathWalk = (bytes: Uint8Array, at: number, test: ValueTest) => boolean;

/** How many walks are kept, and the longest path of which one is, in characters. The oldest is dropped first. */
const WALKS_MAX = 1_000;
const KEPT_PATH_MAX = 100;

/** The walks of paths that filters name, because thousands of live queries differ only in the values. */
const walks = { plain: new Map<string, PathWalk>(), expanding: new Map<string, PathWalk>() };

/**
 * Makes the walk of a path. Equal paths share one.
 * @param expandsLeaf Whether an array at the end of the path also yields its elements, as for most operators.
 */
export function compilePath(dottedPath: string, expandsLeaf: boolean): PathWalk {
  if (dottedPath.length > KEPT_PATH_MAX) return newWalk(dottedPath, expandsLeaf);
  const kept = expandsLeaf ? walks.expanding : walks.plain;
  const known = kept.get(dottedPath);
  if (known !== undefined) return known;
  const walk = newWalk(dottedPath, expandsLeaf);
  const [oldest] = kept.size < WALKS_MAX ? [] : kept.keys();
  if (oldest !== undefined) kept.delete(oldest);
  kept.set(dottedPath, walk);
  return walk;
}

function newWalk(dottedPath: string, expandsLeaf: boolean): PathWalk {
  const parts = dottedPath
    .split(".")
    .map((part) => ({ name: longLivedCopy(Buffer.from(part, "utf8")), isIndex: isIndex(part) }));
  if (AmbiguousPath.is(parts)) {
    const path = new AmbiguousPath(parts, expandsLeaf);
    return (bytes, at, test) => path.walk(bytes, at, test);
  }
  return (bytes, at, test) => walkObject(parts, 0, bytes, at, expandsLeaf, test);
}

/** Walks through nested objects. An absent field counts as missing once for each object that was walked. */
function walkObject(
  parts: readonly PathPart[],
  from: number,
  bytes: Uint8Array,
  at: number,
  expandsLeaf: boolean,
  test: ValueTest,
): boolean {
  let start = at;
  for (let i = from; ; i++) {
    const part = parts[i];
    if (part === undefined) return false;
    const found = findField(bytes, start, part.name);
    if (found < 0) return test(BSON_TYPE.missing, bytes, 0);
    const type = byteAt(bytes, found);
    const value = found + part.name.length + 2;
    if (i === parts.length - 1) return testLeaf(type, bytes, value, expandsLeaf, test);
    if (type === BSON_TYPE.array) return walkArray(parts, i + 1, bytes, value, expandsLeaf, test);
    if (type !== BSON_TYPE.object) return test(BSON_TYPE.missing, bytes, 0);
    start = value;
  }
}

/**
 * Walks into every element that is an object and, if the next part is an index, into the element with that index,
 * whatever its type. So arrays inside arrays are entered by index only, and scalars or absent indexes do not even count
 * as missing.
 */
function walkArray(
  parts: readonly PathPart[],
  i: number,
  bytes: Uint8Array,
  at: number,
  expandsLeaf: boolean,
  test: ValueTest,
): boolean {
  const part = parts[i];
  if (part === undefined) return false;
  const isLast = i === parts.length - 1;
  let offset = at + 4;
  for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
    const value = afterCString(bytes, offset + 1);
    if (type === BSON_TYPE.object && walkObject(parts, i, bytes, value, expandsLeaf, test)) return true;
    if (part.isIndex && isNamed(bytes, offset + 1, part.name)) {
      // An array that the last part names by index is tested as a whole.
      if (
        isLast ? test(type, bytes, value) : walkNested(parts, i + 1, type, bytes, value, expandsLeaf, test)
      ) {
        return true;
      }
    }
    offset = valueEnd(type, bytes, value);
  }
  return false;
}

function walkNested(
  parts: readonly PathPart[],
  i: number,
  type: number,
  bytes: Uint8Array,
  at: number,
  expandsLeaf: boolean,
  test: ValueTest,
): boolean {
  if (type === BSON_TYPE.object) return walkObject(parts, i, bytes, at, expandsLeaf, test);
  return type === BSON_TYPE.array && walkArray(parts, i, bytes, at, expandsLeaf, test);
}

function testLeaf(
  type: number,
  bytes: Uint8Array,
  at: number,
  expandsLeaf: boolean,
  test: ValueTest,
): boolean {
  return (expandsLeaf && type === BSON_TYPE.array && someElement(bytes, at, test)) || test(type, bytes, at);
}
