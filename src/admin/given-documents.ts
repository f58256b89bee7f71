import type { BsonValue } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import { encodeValue } from "../match/encode.ts";
import type { Filter } from "../match/filter.ts";
import type { BoundLookup } from "../rules/bind-rule.ts";
import { readDocument } from "../rules/read-document.ts";

/** Documents of one lookup. A test with more is nothing that a person reads. */
const DOCUMENTS_MAX = 20;

type Json = Readonly<Record<string, unknown>>;

/**
 * Documents from which lookups would read these values, by collection, as Extended JSON: the `given` of a rule test.
 * @returns `null` if they cannot be made up, because a lookup asks for more than equal values, or has too many.
 */
export function givenDocuments(
  sets: readonly (readonly [lookup: BoundLookup, values: readonly BsonValue[]])[],
): Record<string, Json[]> | null {
  const given: Record<string, Json[]> = {};
  for (const [lookup, values] of sets) {
    const fields = equalFields(lookup.filter);
    if (fields === null || values.length > DOCUMENTS_MAX) return null;
    const documents = values.map((value) => documentOf([...fields, [lookup.value, jsonOf(value)]]));
    if (!documents.every((document) => isRead(document, lookup.filter))) return null;
    given[lookup.collectionName] = [...(given[lookup.collectionName] ?? []), ...documents];
  }
  return given;
}

type Field = readonly [path: string, value: unknown];

/** The fields that a filter wants to be equal to values; `null` if it asks for anything else. */
function equalFields(filter: Filter): Field[] | null {
  if (filter.op === "path")
    return filter.predicate.op === "$eq" ? [[filter.path, jsonOf(filter.predicate.value)]] : null;
  if (filter.op !== "$and") return null;
  const parts = filter.filters.map(equalFields);
  return parts.every((part) => part !== null) ? parts.flat() : null;
}

const jsonOf = (value: BsonValue): unknown => JSON.parse(encodeValue(value, "ejson"));

function documentOf(fields: readonly Field[]): Json {
  const document: Record<string, unknown> = {};
  for (const [path, value] of fields) {
    const names = path.split(".");
    let at = document;
    for (const name of names.slice(0, -1)) {
      const inner = Object.hasOwn(at, name) ? at[name] : undefined;
      const next = typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : {}; // made here
      define(at, name, next);
      at = next;
    }
    define(at, names.at(-1) ?? path, value);
  }
  return document;
}

/** Like an assignment, for a name such as `__proto__` as well. */
const define = (object: object, name: string, value: unknown) =>
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });

function isRead(document: Json, filter: Filter): boolean {
  const bytes = readDocument(document);
  return bytes !== undefined && compileFilter(filter)(bytes);
}
