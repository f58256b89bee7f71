import { z } from "zod";
import { ConfigSchema } from "./config-schema.ts";
import { ONE_OR_MORE, unitOf } from "./schema-walk.ts";

type Node = Record<string, unknown>;

/** An environment variable may replace any text, whatever the text must look like. */
const OR_VARIABLE = "|\\$\\{";

/** The file's form as a JSON Schema (2020-12), so that editors complete, explain and check it. */
export function configJsonSchema(): Node {
  const schema = z.toJSONSchema(ConfigSchema, { io: "input", unrepresentable: "any" });
  const { required, ...file } = toFile(schema);
  const always = (Array.isArray(required) ? required : []).filter((name) => name !== "collections");
  return {
    title: "Tidewire configuration",
    ...file,
    required: always,
    ...COLLECTIONS_HERE_OR_THERE,
    patternProperties: { "^x-": {} },
  };
}

const IN_DATABASE = {
  properties: { rules: { properties: { from: { const: "database" } }, required: ["from"] } },
  required: ["rules"],
};

/** The collections are in the file, unless it says that they are in the database. */
const COLLECTIONS_HERE_OR_THERE: Node = {
  if: IN_DATABASE,
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { properties: { collections: false } },
  else: { required: ["collections"] },
};

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function toFile(node: Node): Node {
  const entries = Object.entries(node).flatMap(([key, value]): [string, unknown][] => {
    if (key === "properties" && isNode(value)) return [[key, propertiesToFile(value)]];
    if (key === "maximum" && value === Number.MAX_SAFE_INTEGER) return [];
    if (key === "minimum" && value === Number.MIN_SAFE_INTEGER) return [];
    if (key === "pattern" && typeof value === "string") return [[key, `${value}${OR_VARIABLE}`]];
    if (key === "default" || key === "examples" || key === "enum") return [[key, value]];
    if (Array.isArray(value)) return [[key, value.map((item) => (isNode(item) ? toFile(item) : item))]];
    return [[key, isNode(value) ? toFile(value) : value]];
  });
  const { [ONE_OR_MORE]: isOneOrMore, ...node_ } = Object.fromEntries(entries);
  const { enum: choices, ...rest } = node_;
  if (isOneOrMore === true) {
    const { description, ...list } = rest;
    return { description, anyOf: [list["items"], list] };
  }
  if (choices === undefined) return rest;
  return { ...rest, anyOf: [{ enum: choices }, { pattern: "\\$\\{" }] };
}

function propertiesToFile(properties: Node): Node {
  return Object.fromEntries(
    Object.entries(properties).map(([codeKey, option]) => {
      const unit = unitOf(codeKey);
      if (!isNode(option)) return [codeKey, option];
      if (unit === undefined) return [codeKey, toFile(option)];
      const { description, default: value } = option;
      const file = { type: "string", pattern: unit.pattern + OR_VARIABLE, description };
      return [unit.fileKey, typeof value === "number" ? { ...file, default: unit.format(value) } : file];
    }),
  );
}
