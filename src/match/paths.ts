/** Dotted paths in filters, sorts and projections. */

/**
 * The server accepts 255 parts, and documents nest at most 180 levels. This is enough, and limits the cost of a walk.
 */
const MAX_PARTS = 100;

/** Whether a text has no lone surrogates. Such a text has no UTF-8 form, so the server would see another one. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Whether a part of a path may be an index of an array, as the server reads it. */
export function isIndex(part: string): boolean {
  return /^(?:0|[1-9][0-9]*)$/.test(part);
}

/** Why a path cannot be used; `undefined` if it can. */
export function pathFault(path: string): string | undefined {
  if (path.includes("\0")) return "holds a NUL character";
  if (!isWellFormed(path)) return "is not well-formed Unicode";
  const parts = path.split(".");
  if (parts.length > MAX_PARTS) return `has more than ${MAX_PARTS} parts`;
  if (parts.includes("")) return "is empty or has an empty part";
  const operator = parts.find((part) => part.startsWith("$"));
  return operator === undefined ? undefined : "has a part that starts with $";
}

/**
 * How many parts of a path in a filter or a sort may be array indexes. Each of them may be an index or a name, and the
 * work on nested arrays grows with their number.
 */
export const MAX_INDEXES = 8;

/** Why a path cannot be walked through documents; `undefined` if it can. */
export function walkFault(path: string): string | undefined {
  const fault = pathFault(path);
  if (fault !== undefined) return fault;
  return indexesIn(path) > MAX_INDEXES
    ? `has more than ${MAX_INDEXES} parts that may be indexes of arrays`
    : undefined;
}

/** The number of parts of a path that may be array indexes. */
export function indexesIn(path: string): number {
  return path.split(".").filter(isIndex).length;
}

/** Quotes a name for an error. Names from clients are shortened. */
export function quote(name: string): string {
  return name.length > 80 ? `"${name.slice(0, 80)}…"` : `"${name}"`;
}
