/** The key of a document: its `_id`, or the JSON of an `_id` that is neither a string nor a number. */
export type Key = string | number;

/** The key of the row with an `_id`. */
export const keyFor = (id: unknown): Key =>
  typeof id === "string" || typeof id === "number" ? id : JSON.stringify(id);

/** The key of a document. */
export const keyOf = (doc: object): Key => keyFor((doc as { readonly _id?: unknown })._id); // every document has one
