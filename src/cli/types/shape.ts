// The shapes of documents, between their sources (validators, samples) and the text of a type.

/** The types of scalars by MongoDB's names. `number` is any of the four numbers. */
export type ScalarType =
  | "objectId"
  | "string"
  | "int"
  | "long"
  | "double"
  | "decimal"
  | "number"
  | "bool"
  | "date"
  | "null"
  | "binData"
  | "timestamp"
  | "regex";

/** A field of an object, and whether documents may lack it. */
export interface Field {
  readonly shape: Shape;
  readonly isOptional: boolean;
}

/** The shape of a value. */
export type Shape =
  | { readonly kind: "unknown" }
  | { readonly kind: "scalar"; readonly type: ScalarType }
  | { readonly kind: "literal"; readonly value: string | number | boolean | null }
  | { readonly kind: "array"; readonly items: Shape }
  | { readonly kind: "object"; readonly fields: ReadonlyMap<string, Field> }
  | { readonly kind: "union"; readonly of: readonly Shape[] };

/** A value about which nothing is known. */
export const UNKNOWN: Shape = { kind: "unknown" };

/** A value of one of several shapes. */
export function union(shapes: readonly Shape[]): Shape {
  const flat = shapes.flatMap((shape) => (shape.kind === "union" ? shape.of : [shape]));
  if (flat.some(({ kind }) => kind === "unknown")) return UNKNOWN;
  const distinct = [...new Map(flat.map((shape) => [nameOf(shape), shape])).values()];
  const [only = UNKNOWN] = distinct;
  return distinct.length > 1 ? { kind: "union", of: distinct } : only;
}

/** Equal for equal shapes. */
function nameOf(shape: Shape): string {
  return JSON.stringify(shape, (_key, value) => (value instanceof Map ? [...value] : value));
}

/** A value of both shapes, as `allOf` says. The fields of objects are joined. */
export function both(a: Shape, b: Shape): Shape {
  if (a.kind === "unknown") return b;
  if (b.kind === "unknown") return a;
  if (a.kind !== "object" || b.kind !== "object") return a;
  const fields = new Map(a.fields);
  for (const [name, { shape, isOptional }] of b.fields) {
    const known = fields.get(name);
    fields.set(name, {
      shape: known === undefined ? shape : both(known.shape, shape),
      isOptional: isOptional && known?.isOptional !== false,
    });
  }
  return { kind: "object", fields };
}
