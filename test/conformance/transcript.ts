/**
 * A conversation as it goes over the wire, with what differs from run to run replaced: the contract of protocol
 * version 1 that old clients rely on. Recorded once, replayed by every build.
 */
import { isDeepStrictEqual } from "node:util";
import type { Received } from "../support/ws-client.ts";

/** The next step; `server` holds the messages that have to arrive then, in this order. */
export type Step =
  | { readonly connect: string }
  | { readonly client: string; readonly sends: Record<string, unknown>; readonly claims?: Claims }
  | { readonly database: Record<string, unknown> | readonly Record<string, unknown>[] }
  | { readonly edit: Record<string, unknown> }
  | { readonly service: "drain" }
  | { readonly server: string; readonly message: Record<string, unknown> }
  | { readonly closed: string; readonly code: number };

type Claims = Record<string, unknown> & { readonly expiresInSeconds?: number };

export interface Transcript {
  readonly name: string;
  readonly protocol: 1;
  /** The service's configuration, where it matters for the conversation. */
  readonly service: Record<string, Record<string, unknown>>;
  readonly steps: readonly Step[];
}

/** Server messages of version 1. Newer ones are ignored, as old clients do. */
const KNOWN_TYPES = new Set(
  "welcome subscribed snapshot added changed removed watermark reset unsubscribed refreshed expiring error draining fenced pong".split(
    " ",
  ),
);
export const isOfVersion1 = ({ type }: Received) => KNOWN_TYPES.has(type);

/** By name, what takes the place of a value that differs from run to run. */
const VOLATILE = new Set([
  "cursor",
  "ticket",
  "connection",
  "node",
  "expires",
  "inMs",
  "retryAfterMs",
  "ref",
]);
/** Numbers that an admin sets, and texts that people read: that they are there is the contract. */
const FREE = new Set(["limits", "message", "problems"]);
/** In documents every field is the database's: nothing is replaced, and nothing may be added. */
const DOCUMENTS = new Set(["doc", "docs", "_id", "set"]);

/**
 * Replaces volatile values in the messages of one connection; its live queries are numbered in the order in which they are
 * met. The numbers of two connections have nothing to do with each other.
 */
export class Normalizer {
  readonly #queries = new Map<unknown, number>();

  /** A recorded message, its live queries numbered in the same way; nothing else is touched. */
  renumber(message: Record<string, unknown>): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(message).map(([name, value]) => [
        name,
        name === "query" || name === "from" ? `<query ${this.#numberOf(value)}>` : value,
      ]),
    );
  }

  normalize(message: Received): Record<string, unknown> {
    return this.#value(message, "") as Record<string, unknown>; // an object comes back as one
  }

  #value(value: unknown, name: string): unknown {
    if (DOCUMENTS.has(name)) return value;
    if (FREE.has(name)) return freely(value, name);
    if (name === "query" || name === "from") return `<query ${this.#numberOf(value)}>`;
    if (VOLATILE.has(name) && (typeof value === "string" || typeof value === "number")) return `<${name}>`;
    if (Array.isArray(value)) return value.map((element) => this.#value(element, ""));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.#value(inner, key)]));
  }

  #numberOf(query: unknown): number {
    const known = this.#queries.get(query) ?? this.#queries.size + 1;
    this.#queries.set(query, known);
    return known;
  }
}

/** Keeps names and structure, and replaces what is at the ends but for paths. */
function freely(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return name === "path" ? value : `<${typeof value}>`;
  if (Array.isArray(value)) return value.map((element) => freely(element, ""));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, freely(inner, key)]));
}

/** The parts of `expected` that are missing or different in `actual`. New fields are not a difference. */
export function differences(expected: unknown, actual: unknown, path = ""): string[] {
  const name = path.slice(path.lastIndexOf(".") + 1);
  if (DOCUMENTS.has(name) || !isObject(expected) || !isObject(actual)) {
    if (isDeepStrictEqual(expected, actual)) return [];
    return [`${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`];
  }
  if (Array.isArray(expected) && Array.isArray(actual) && expected.length !== actual.length) {
    return [`${path}: expected ${expected.length} elements, got ${actual.length}`];
  }
  return Object.entries(expected).flatMap(([key, inner]) =>
    Object.hasOwn(actual, key)
      ? differences(inner, actual[key], `${path}.${key}`)
      : [`${path}.${key}: missing`],
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
