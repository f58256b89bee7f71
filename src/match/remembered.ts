/**
 * Remembers what was made of an object for as long as the object lives. Filters are immutable, so anything that depends on
 * a part of one alone needs to be computed only once.
 */
import type { BsonValue } from "./bson-value.ts";

/** A function that makes each result once per object. */
export function remembered<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    const before = known.get(key);
    if (before !== undefined) return before;
    const made = make(key);
    known.set(key, made);
    return made;
  };
}

/**
 * Lists with more values than this are long. The live queries of one user often share a long list, such as the values of
 * a lookup, while remembering something for each short list would take more memory than it saves time.
 */
export const SHORT_LIST_MAX = 32;

/** Like `remembered`, for lists of values. Only long lists are remembered. */
export function rememberedIfLong<V>(
  make: (values: readonly BsonValue[]) => V,
): (values: readonly BsonValue[]) => V {
  const makeOnce = remembered(make);
  return (values) => (values.length > SHORT_LIST_MAX ? makeOnce(values) : make(values));
}
