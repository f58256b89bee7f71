/** Dotted paths as filters, sorts and projections name fields. */

/** The server takes 255; documents nest at most 180 deep anyway. */
const MAX_PARTS = 100;

/** A lone surrogate: such text has no UTF-8, so the server would see another one. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Whether a part of a path may be an index of an array, as the server reads it. */
export function isIndex(part: string): boolean {
  return /^(?:0|[1-9][0-9]*)$/.test(part);
}

/** The reason why a path cannot be used, or `undefined` if it can. */
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
 * How many parts of a path in a filter or a sort may be indexes of arrays. Each of them may be read as an index or as a
 * name, and the work on nested arrays grows with their number.
 */
export const MAX_INDEXES = 8;

/** Why a path cannot be walked through documents, or `undefined` if it can. */
export function walkFault(path: string): string | undefined {
  const fault = pathFault(path);
  if (fault !== undefined) return fault;
  return indexesIn(path) > MAX_INDEXES
    ? `has more than ${MAX_INDEXES} parts that may be indexes of arrays`
    : undefined;
}

/** How many parts of a path may be indexes of arrays. */
export function indexesIn(path: string): number {
  return path.split(".").filter(isIndex).length;
}

/** Names from outside are cut short before they go into an error's text. */
export function quote(name: string): string {
  return name.length > 80 ? `"${name.slice(0, 80)}…"` : `"${name}"`;
}
