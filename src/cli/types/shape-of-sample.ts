/** Reads the shape of documents from some of them, decoded without promoting numbers (`promoteValues: false`). */
import { type Field, type ScalarType, type Shape, UNKNOWN, union } from "./shape.ts";

const SCALARS: Readonly<Record<string, ScalarType>> = {
  ObjectId: "objectId",
  Int32: "int",
  Long: "long",
  Double: "double",
  Decimal128: "decimal",
  Binary: "binData",
  UUID: "binData",
  Timestamp: "timestamp",
  BSONRegExp: "regex",
};

/** The shape of all documents. A field that some of them lack is optional. */
export function shapeOfSample(documents: readonly unknown[]): Shape {
  return joined(documents);
}

/** One shape for all values: those of one kind are joined, so that a union has at most one object and one array. */
function joined(values: readonly unknown[]): Shape {
  const shapes: Shape[] = [];
  const objects: Readonly<Record<string, unknown>>[] = [];
  const items: unknown[] = [];
  let hasArray = false;
  for (const value of values) {
    if (Array.isArray(value)) {
      hasArray = true;
      for (const item of value) items.push(item);
    } else if (isPlain(value)) objects.push(value);
    else shapes.push(scalar(value));
  }
  if (objects.length > 0) shapes.push(joinedObjects(objects));
  if (hasArray) shapes.push({ kind: "array", items: items.length === 0 ? UNKNOWN : joined(items) });
  return union(shapes);
}

function joinedObjects(objects: readonly Readonly<Record<string, unknown>>[]): Shape {
  const names = new Set(objects.flatMap((object) => Object.keys(object)));
  const fields = Array.from(names, (name): [string, Field] => {
    const having = objects.filter((object) => Object.hasOwn(object, name));
    const shape = joined(having.map((object) => object[name]));
    return [name, { shape, isOptional: having.length < objects.length }];
  });
  return { kind: "object", fields: new Map(fields) };
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !(value instanceof Date) && !("_bsontype" in value);

function scalar(value: unknown): Shape {
  if (value === null || value === undefined) return { kind: "scalar", type: "null" };
  if (typeof value === "string") return { kind: "scalar", type: "string" };
  if (typeof value === "boolean") return { kind: "scalar", type: "bool" };
  if (value instanceof Date) return { kind: "scalar", type: "date" };
  const type = SCALARS[String((value as { _bsontype?: unknown })._bsontype)];
  return type === undefined ? UNKNOWN : { kind: "scalar", type };
}
