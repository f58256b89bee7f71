/** Types of documents: from validators and samples, by the fields of a rule, in each value mode. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import type { Shape } from "../../../../src/cli/types/shape.ts";
import { shapeOfSample } from "../../../../src/cli/types/shape-of-sample.ts";
import { shapeOfSchema } from "../../../../src/cli/types/shape-of-schema.ts";
import { visibleShape } from "../../../../src/cli/types/visible-shape.ts";
import { writeTypes } from "../../../../src/cli/types/write-types.ts";
import type { ValueMode } from "../../../../src/protocol/messages.ts";
import type { FieldsOptions } from "../../../../src/rules/options.ts";

const { Decimal128, Double, Int32, Long, ObjectId } = BSON;

/** The interface of a shape, without what is around it. */
function textOf(shape: Shape, mode: ValueMode = "json"): string {
  const [, text = ""] =
    /interface AT (\{[\s\S]*?\n\})/.exec(
      writeTypes([{ role: "a", collections: [{ name: "t", shape, origin: "a test" }] }], mode),
    ) ?? [];
  return text;
}

const SCHEMA = {
  bsonType: "object",
  required: ["_id", "status", "customer"],
  properties: {
    _id: { bsonType: "objectId" },
    status: { enum: ["open", "paid", null] },
    total: { bsonType: ["double", "decimal"], minimum: 0 },
    count: { type: "number" },
    big: { bsonType: "long" },
    at: { bsonType: "date" },
    note: { bsonType: ["string", "null"] },
    "odd-name": { bsonType: "bool" },
    customer: {
      bsonType: "object",
      required: ["name"],
      properties: {
        name: { bsonType: "string" },
        tags: { bsonType: "array", items: { bsonType: "string" } },
      },
    },
    items: { bsonType: "array", items: { bsonType: "object", properties: { sku: { bsonType: "int" } } } },
    payment: {
      oneOf: [{ bsonType: "string" }, { properties: { card: { bsonType: "binData" } }, required: ["card"] }],
    },
    free: { bsonType: "object" },
    anything: {},
  },
};

test("a validator becomes an interface, in plain JSON", () => {
  expect(textOf(shapeOfSchema(SCHEMA))).toBe(`{
  _id: string;
  status: "open" | "paid" | null;
  total?: number | string;
  count?: number | string;
  big?: number | string;
  at?: string;
  note?: string | null;
  "odd-name"?: boolean;
  customer: {
    name: string;
    tags?: string[];
  };
  items?: ({
    sku?: number;
  })[];
  payment?: string | {
    card: string;
  };
  free?: Record<string, unknown>;
  anything?: unknown;
}`);
});

test("in Extended JSON each type keeps its form", () => {
  const text = textOf(shapeOfSchema(SCHEMA), "ejson");
  expect(text).toContain("_id: { $oid: string };");
  expect(text).toContain("total?: number | { $numberDouble: string } | { $numberDecimal: string };");
  expect(text).toContain("big?: number | { $numberLong: string };");
  expect(text).toContain("at?: { $date: string | { $numberLong: string } };");
});

test("allOf joins the fields of its parts", () => {
  const schema = {
    properties: { a: { bsonType: "int" } },
    allOf: [{ required: ["a"], properties: { b: { bsonType: "string" } } }],
  };
  expect(textOf(shapeOfSchema(schema))).toBe("{\n  a: number;\n  b?: string;\n}");
});

test("a sample becomes an interface in which fields are optional that some documents lack", () => {
  const documents = [
    { _id: new ObjectId(), a: new Int32(1), b: [{ c: "x" }, { c: null }], d: Decimal128.fromString("1") },
    { _id: new ObjectId(), a: new Double(1.5), b: [], e: { f: Long.fromNumber(1) } },
    { _id: "text", a: "none", b: ["y"], at: new Date() },
  ];
  expect(textOf(shapeOfSample(documents))).toBe(`{
  _id: string;
  a: number | string;
  b: (string | {
    c: string | null;
  })[];
  d?: string;
  e?: {
    f: number | string;
  };
  at?: string;
}`);
});

test.each<[string, FieldsOptions | undefined, string]>([
  ["everything", undefined, "_id,a,b,c"],
  ["included paths and _id", { include: ["a", "b.x"] } as FieldsOptions, "_id,a,b{x}"],
  ["all but excluded paths", { exclude: ["a", "b.x"] } as FieldsOptions, "_id,b{y},c"],
])("a rule shows %s", (_name, fields, expected) => {
  const schema = {
    required: ["_id", "b"],
    properties: {
      _id: { bsonType: "int" },
      a: { bsonType: "int" },
      b: { bsonType: "object", properties: { x: { bsonType: "int" }, y: { bsonType: "int" } } },
      c: { bsonType: "int" },
    },
  };
  const shape = visibleShape(shapeOfSchema(schema), fields);
  const names = (of: Shape): string =>
    of.kind === "object"
      ? Array.from(
          of.fields,
          ([name, { shape: inner }]) => name + (inner.kind === "object" && fields ? `{${names(inner)}}` : ""),
        ).join()
      : "";
  expect(names(shape)).toBe(expected);
});

test("an included part of a value that may be a scalar is optional, and goes into arrays", () => {
  const schema = {
    required: ["_id", "a", "b"],
    properties: {
      _id: { bsonType: "int" },
      a: {
        oneOf: [
          { bsonType: "string" },
          { bsonType: "object", required: ["x"], properties: { x: { bsonType: "int" } } },
        ],
      },
      b: {
        bsonType: "array",
        items: {
          bsonType: "object",
          required: ["x", "y"],
          properties: { x: { bsonType: "int" }, y: { bsonType: "int" } },
        },
      },
    },
  };
  const shape = visibleShape(shapeOfSchema(schema), { include: ["a.x", "b.x"] } as FieldsOptions);
  expect(textOf(shape)).toBe(
    "{\n  _id: number;\n  a?: {\n    x: number;\n  };\n  b: ({\n    x: number;\n  })[];\n}",
  );
});

test("names become identifiers, and two that differ only by punctuation stay apart", () => {
  const shape: Shape = {
    kind: "object",
    fields: new Map([["_id", { shape: { kind: "scalar", type: "int" }, isOptional: false }]]),
  };
  const collection = (name: string) => ({ name, shape, origin: "a test" });
  const text = writeTypes(
    [{ role: "shop-staff", collections: [collection("late-orders"), collection("late_orders")] }],
    "json",
  );
  expect(text.match(/interface \w+/g)).toEqual([
    "interface ShopStaffLateOrders",
    "interface ShopStaffLateOrders2",
    "interface ShopStaffSchema",
  ]);
  expect(text).toContain('  "late-orders": ShopStaffLateOrders;\n  late_orders: ShopStaffLateOrders2;\n');
});
