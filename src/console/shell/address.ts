/** The view that is shown, with the fields of its search. The address holds both, so that a link shows the same. */
export interface Route {
  readonly view: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** Reads `#/connections?sub=ada`. */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { view: path, fields: Object.fromEntries(new URLSearchParams(query)) };
}

/** The reverse of `parseRoute`. Empty fields are left out. */
export function hrefOf(view: string, fields: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== ""));
  return query.size === 0 ? `#/${view}` : `#/${view}?${query}`;
}
