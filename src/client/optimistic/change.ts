import { type Doc, keyOf, withDelta } from "../result-set.ts";
import type { IdOf, Path, ValueAt } from "../types.ts";

/** A change that a query shows before the service has sent it. */
export type OptimisticChange<R> =
  /** A new document, complete, with the `_id` that the backend will give it. */
  | { readonly insert: R }
  /** Other values of a document, by dotted paths. */
  | {
      readonly update: IdOf<R>;
      readonly set?: { readonly [P in Path<R>]?: ValueAt<R, P> };
      readonly unset?: readonly Path<R>[];
    }
  /** Another document in place of a document. The function also receives the documents that arrive in the meantime. */
  | { readonly update: IdOf<R>; readonly to: (doc: R) => R }
  | { readonly remove: IdOf<R> };

/** A change of any query, in one form. */
export type Step =
  | { readonly type: "insert"; readonly key: string; readonly doc: Doc }
  | { readonly type: "update"; readonly key: string; readonly to: (doc: Doc) => Doc }
  | { readonly type: "remove"; readonly key: string };

interface AnyChange {
  readonly insert?: Doc;
  readonly update?: unknown;
  readonly set?: Readonly<Record<string, unknown>>;
  readonly unset?: readonly string[];
  readonly to?: (doc: Doc) => Doc;
  readonly remove?: unknown;
}

/** @throws {TypeError} The change is none of the three, or a new document has no `_id`. */
export function toStep(change: object): Step {
  const { insert, update, set, unset, to, remove } = change as AnyChange; // checked here
  if (insert !== undefined) {
    if (insert["_id"] === undefined)
      throw new TypeError(
        "an inserted document needs its _id: create it in the page, for example by objectId()",
      );
    return { type: "insert", key: keyOf(insert["_id"]), doc: insert };
  }
  if (remove !== undefined) return { type: "remove", key: keyOf(remove) };
  if (update === undefined) throw new TypeError("a change has insert, update or remove");
  return { type: "update", key: keyOf(update), to: to ?? ((doc) => withDelta(doc, set, unset)) };
}
