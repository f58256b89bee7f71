/** The visible fields of a document, as rules can express them: all, only some paths, or all but some. */

/** The visible fields: all, only the listed paths, or all but the listed paths. */
export type Shown =
  | { readonly of: "all" }
  | { readonly of: "only" | "but"; readonly paths: readonly string[] };

/** Every field is visible. */
export const ALL_FIELDS: Shown = { of: "all" };

const within = (path: string, outer: string) => path === outer || path.startsWith(`${outer}.`);
const overlaps = (a: string, b: string) => within(a, b) || within(b, a);

/** Removes paths that lie inside another path of the list. */
function outermost(paths: readonly string[]): string[] {
  return [...new Set(paths)].filter((path) => !paths.some((other) => other !== path && within(path, other)));
}

/** The fields visible under both, or fewer if one list cannot express that. */
export function shownByBoth(a: Shown, b: Shown): Shown {
  if (a.of === "all") return b;
  if (b.of === "all") return a;
  if (a.of === "but" && b.of === "but") return { of: "but", paths: outermost([...a.paths, ...b.paths]) };
  if (a.of === "but") return shownByBoth(b, a);
  if (b.of === "but") {
    return { of: "only", paths: a.paths.filter((path) => !b.paths.some((hidden) => overlaps(path, hidden))) };
  }
  const inner = (some: readonly string[], others: readonly string[]) =>
    some.filter((path) => others.some((other) => within(path, other)));
  return { of: "only", paths: outermost([...inner(a.paths, b.paths), ...inner(b.paths, a.paths)]) };
}

/** Whether a path, or a path below it, is hidden. */
export function isHidden(path: string, shown: Shown): boolean {
  if (shown.of === "all") return false;
  if (shown.of === "but") return shown.paths.some((hidden) => overlaps(path, hidden));
  return path !== "_id" && !shown.paths.some((visible) => within(path, visible));
}

/** Whether `a` shows all that `b` shows. */
export function showsAllOf(a: Shown, b: Shown): boolean {
  return a.of === "all" || isSame(shownByBoth(a, b), b);
}

/** Whether both show the same fields. The order of the paths does not count. */
export function isSame(a: Shown, b: Shown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

const sorted = (shown: Shown) =>
  shown.of === "all" ? shown : { of: shown.of, paths: [...shown.paths].sort() };

/** Whether anything shows beside the `_id`. */
export const showsAnything = (shown: Shown): boolean => shown.of !== "only" || shown.paths.length > 0;
