/**
 * Computes the `_id` of a document's group exactly as the server's `$group` does. A difference would move documents
 * between groups, so missing fields, null and undefined follow the server.
 */
import type { Aggregate } from "../match/aggregate.ts";
import { BSON_TYPE, type BsonValue } from "../match/bson-value.ts";
import { compileExpressionPath, type ExpressionPath } from "../match/expression-path.ts";
import { valueKey } from "../match/value-key.ts";
import { documentOf, NULL } from "../match/write-bson.ts";

/** Finds the `_id` of the group that a document belongs to, as the server's `$group` does. */
export type GroupIdOf = (document: Uint8Array) => BsonValue;

/** A part of an `_id`: the value of a path, or an object with more parts. */
type IdPart = ExpressionPath | ReadonlyMap<string, IdPart>;

export function compileGroupId(by: Aggregate["by"]): GroupIdOf {
  if (by === null) return () => NULL;
  if (typeof by === "string") return orNull(by);
  const parts = nested(by, isOnlyField(by) ? orNull : compileExpressionPath);
  return (document) => objectOf(parts, document);
}

function orNull(path: string): ExpressionPath {
  const find = compileExpressionPath(path);
  return (document) => {
    const value = find(document);
    return value.type === BSON_TYPE.missing ? NULL : value;
  };
}

/**
 * Whether an `_id` has a single field at its top. The server puts a document without that field into the group of null.
 */
export const isOnlyField = (by: readonly string[]): boolean =>
  by.length === 1 && by[0]?.includes(".") === false;

/** An object of these paths, in which dots become nested objects. */
export function nested<T>(paths: readonly string[], leafOf: (path: string) => T): Nested<T> {
  const root: MutableNested<T> = new Map();
  for (const path of paths) {
    const names = path.split(".");
    const last = names.pop() ?? "";
    let level = root;
    for (const name of names) {
      let below = level.get(name);
      if (!(below instanceof Map)) {
        below = new Map();
        level.set(name, below);
      }
      level = below as MutableNested<T>;
    }
    level.set(last, leafOf(path));
  }
  return root;
}

/** Values by their names, level by level. */
export interface Nested<T> extends ReadonlyMap<string, T | Nested<T>> {}
interface MutableNested<T> extends Map<string, T | MutableNested<T>> {}

/** The object of an `_id`. A missing value has no field, and an object without fields stays. */
function objectOf(parts: ReadonlyMap<string, IdPart>, document: Uint8Array): BsonValue {
  const entries: [string, BsonValue][] = [];
  for (const [name, part] of parts) {
    const value = typeof part === "function" ? part(document) : objectOf(part, document);
    if (value.type !== BSON_TYPE.missing) entries.push([name, value]);
  }
  return documentOf(entries);
}

/**
 * A text that is equal for two `_id`s if and only if the server puts them into one group. In contrast to filters,
 * undefined is not null.
 */
export const groupKey = (id: BsonValue): string =>
  id.type === BSON_TYPE.undefined ? "undefined" : valueKey(id);
