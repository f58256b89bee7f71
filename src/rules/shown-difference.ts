/** Compares and searches documents as plain JSON, for rule tests. */
import { isDeepStrictEqual } from "node:util";

/** Whether there is a value at a dotted path. In an array, any element or the one at an index counts. */
export function hasPath(value: unknown, path: string): boolean {
  const dot = path.indexOf(".");
  const [key, rest] = dot < 0 ? [path, undefined] : [path.slice(0, dot), path.slice(dot + 1)];
  if (Array.isArray(value) && !/^\d+$/.test(key)) return value.some((item) => hasPath(item, path));
  if (!isObject(value) || !Object.hasOwn(value, key)) return false;
  return rest === undefined || hasPath(value[key], rest);
}

/** The differences between two documents, one text per path; empty if only the order of keys differs. */
export function shownDifference(expected: unknown, found: unknown, path = ""): string[] {
  if (isDeepStrictEqual(expected, found)) return [];
  if (!isObject(expected) || !isObject(found) || Array.isArray(expected) !== Array.isArray(found)) {
    return [`${path}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`];
  }
  return [...new Set([...Object.keys(expected), ...Object.keys(found)])].flatMap((key) => {
    const here = path === "" ? key : `${path}.${key}`;
    if (!Object.hasOwn(found, key)) return [`${here}: expected ${JSON.stringify(expected[key])}, not shown`];
    if (!Object.hasOwn(expected, key)) return [`${here}: shown, not expected: ${JSON.stringify(found[key])}`];
    return shownDifference(expected[key], found[key], here);
  });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
