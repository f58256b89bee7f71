/** Reads the shape of documents from a validator (`$jsonSchema`, which is JSON Schema draft 4 with `bsonType`). */
import { both, type Field, type ScalarType, type Shape, UNKNOWN, union } from "./shape.ts";

interface Schema {
  readonly bsonType?: string | readonly string[];
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema | readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

const SCALARS: Readonly<Record<string, ScalarType>> = {
  objectId: "objectId",
  string: "string",
  int: "int",
  long: "long",
  double: "double",
  decimal: "decimal",
  number: "number",
  bool: "bool",
  boolean: "bool",
  date: "date",
  null: "null",
  binData: "binData",
  timestamp: "timestamp",
  regex: "regex",
};

/** The shape of values that a schema admits. Parts that a type cannot express, such as `minimum`, are left out. */
export function shapeOfSchema(schema: object): Shape {
  const { bsonType, type, enum: values, allOf = [], anyOf, oneOf } = schema as Schema;
  const types = [bsonType ?? type ?? []].flat();
  let shape: Shape = values === undefined ? ofTypes(types, schema) : union(values.map(literal));
  for (const part of allOf) shape = both(shape, shapeOfSchema(part));
  for (const choices of [anyOf, oneOf]) {
    if (choices !== undefined) shape = union(choices.map((choice) => both(shape, shapeOfSchema(choice))));
  }
  return shape;
}

function ofTypes(types: readonly string[], schema: Schema): Shape {
  const isObject = schema.properties !== undefined || schema.required !== undefined;
  if (types.length === 0) return isObject ? ofObject(schema) : UNKNOWN;
  return union(
    types.map((type): Shape => {
      if (type === "object") return isObject ? ofObject(schema) : { kind: "object", fields: new Map() };
      if (type === "array") return { kind: "array", items: ofItems(schema.items) };
      const scalar = SCALARS[type];
      return scalar === undefined ? UNKNOWN : { kind: "scalar", type: scalar };
    }),
  );
}

function ofObject({ properties = {}, required = [] }: Schema): Shape {
  const names = new Set([...Object.keys(properties), ...required]);
  const fields = Array.from(names, (name): [string, Field] => [
    name,
    { shape: shapeOfSchema(properties[name] ?? {}), isOptional: !required.includes(name) },
  ]);
  return { kind: "object", fields: new Map(fields) };
}

function ofItems(items: Schema["items"]): Shape {
  if (items === undefined) return UNKNOWN;
  return Array.isArray(items) ? union(items.map(shapeOfSchema)) : shapeOfSchema(items);
}

function literal(value: unknown): Shape {
  if (value === null || ["string", "number", "boolean"].includes(typeof value))
    return { kind: "literal", value: value as string | number | boolean | null }; // the line above
  return UNKNOWN;
}
