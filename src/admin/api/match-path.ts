import { API } from "./endpoint.ts";
import { ENDPOINTS, type Operation } from "./endpoints.ts";

/** An endpoint that a path and a method lead to. */
export interface Matched {
  readonly operation: Operation;
  /** The fields of the request that the path contains. */
  readonly fields: Readonly<Record<string, string>>;
}

interface Route {
  readonly operation: Operation;
  readonly method: string;
  readonly segments: readonly string[];
}

// `Object.keys` returns plain strings.
const ROUTES: readonly Route[] = (Object.keys(ENDPOINTS) as Operation[]).map((operation) => {
  const { method, path } = ENDPOINTS[operation];
  return { operation, method, segments: path.split("/") };
});

/** The endpoint of a request, or the methods that its path has; these are none for an unknown path. */
export function matchPath(method: string, path: string): Matched | { readonly methods: readonly string[] } {
  const methods: string[] = [];
  const segments = path.startsWith(`${API}/`) ? path.slice(API.length).split("/") : [];
  for (const route of ROUTES) {
    const fields = fieldsOf(route.segments, segments);
    if (fields === null) continue;
    if (route.method === method) return { operation: route.operation, fields };
    methods.push(route.method);
  }
  return { methods };
}

/** `null` if the segments are of another route. */
function fieldsOf(route: readonly string[], segments: readonly string[]): Record<string, string> | null {
  if (route.length !== segments.length) return null;
  const fields: Record<string, string> = {};
  for (const [index, part] of route.entries()) {
    const segment = segments[index] ?? "";
    const [, name] = /^\{(\w+)\}$/.exec(part) ?? [];
    if (name === undefined && part !== segment) return null;
    if (name !== undefined) fields[name] = decoded(segment);
  }
  return fields;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // no valid encoding: the schema of the request judges the text as it is
  }
}
