import { compilePath } from "./path-walk.ts";
import { valueKeyAt } from "./value-key.ts";

/**
 * Makes a function that gives the keys (`valueKey`) of every value in a document that an `$eq` on the path sees,
 * each once; a missing field is seen as null. A document can only fulfil `$eq: v` if `valueKey(v)` is among them,
 * so this is what an index of filters looks up.
 */
export function compileEqualityKeys(path: string): (document: Uint8Array) => ReadonlySet<string> {
  const walk = compilePath(path, true);
  return (document) => {
    const keys = new Set<string>();
    walk(document, 0, (type, bytes, at) => {
      keys.add(valueKeyAt(type, bytes, at));
      return false;
    });
    return keys;
  };
}
