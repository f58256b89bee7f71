/** Paths of one answer. A document may have any number of fields. */
const PATHS_MAX = 200;

/** The paths of a document, as JSON, that its shown part lacks; at most 200. Elements of arrays have one path. */
export function hiddenPaths(stored: unknown, shown: unknown): string[] {
  const hidden = new Set<string>();
  collect(stored, shown, "", hidden);
  return [...hidden].sort();
}

function collect(stored: unknown, shown: unknown, prefix: string, hidden: Set<string>): void {
  if (hidden.size >= PATHS_MAX) return;
  if (Array.isArray(stored) && Array.isArray(shown)) {
    // A projection hides fields within elements, and keeps their number.
    for (const [index, element] of stored.entries()) collect(element, shown[index], prefix, hidden);
    return;
  }
  if (!isObject(stored) || !isObject(shown)) return;
  for (const [name, value] of Object.entries(stored)) {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (Object.hasOwn(shown, name)) collect(value, shown[name], path, hidden);
    else hidden.add(path);
    if (hidden.size >= PATHS_MAX) return;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
