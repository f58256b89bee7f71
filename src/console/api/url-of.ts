/** A request without its method. */
interface Addressed {
  readonly url: string;
  /** The body: a text, or the fields of a JSON object; `null` for none. */
  readonly rest: string | Readonly<Record<string, unknown>> | null;
}

/** Distributes the fields of a request to its path, its query and its body. */
export function urlOf(path: string, isGet: boolean, fields: unknown): Addressed {
  if (typeof fields === "string") return { url: path, rest: fields };
  // Every request is a text or an object.
  const left = new Map(Object.entries(fields as Record<string, unknown>));
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = left.get(name);
    left.delete(name);
    return encodeURIComponent(String(value));
  });
  if (!isGet) return { url: filled, rest: left.size === 0 ? null : Object.fromEntries(left) };
  const query = new URLSearchParams();
  for (const [name, value] of left) if (value !== undefined && value !== "") query.set(name, String(value));
  return { url: query.size === 0 ? filled : `${filled}?${query}`, rest: null };
}
