/** Writes shapes as types of TypeScript, as documents arrive in one of the value modes (docs/protocol.md, section 2). */
import { VALUE_MODES } from "../../protocol/messages.ts";
import type { ScalarType, Shape } from "./shape.ts";

type Alternatives = Readonly<Record<ScalarType, readonly string[]>>;

const JSON_TYPES: Alternatives = {
  objectId: ["string"],
  string: ["string"],
  int: ["number"],
  // Beyond 2^53 it is text.
  long: ["number", "string"],
  double: ["number"],
  decimal: ["string"],
  number: ["number", "string"],
  bool: ["boolean"],
  date: ["string"],
  null: ["null"],
  binData: ["string"],
  timestamp: ["{ $timestamp: { t: number; i: number } }"],
  regex: ["string"],
};
const LONG = "{ $numberLong: string }";
const DOUBLE = "{ $numberDouble: string }";
const DECIMAL = "{ $numberDecimal: string }";
const BINARY = "{ $binary: { base64: string; subType: string } }";

/** A value mode, or `native` of `tidewire/client/native`. */
export const TYPE_MODES = [...VALUE_MODES, "native"] as const;
/** One of `TYPE_MODES`. */
export type TypeMode = (typeof TYPE_MODES)[number];

const TYPES: Readonly<Record<TypeMode, Alternatives>> = {
  json: JSON_TYPES,
  native: {
    ...JSON_TYPES,
    objectId: ["ObjectId"],
    long: ["number", "bigint"],
    decimal: [DECIMAL],
    number: ["number", "bigint", DECIMAL],
    date: ["Date"],
    binData: ["Uint8Array", BINARY],
    regex: ["{ $regularExpression: { pattern: string; options: string } }"],
  },
  ejson: {
    ...JSON_TYPES,
    objectId: ["{ $oid: string }"],
    long: ["number", LONG],
    double: ["number", DOUBLE],
    decimal: [DECIMAL],
    number: ["number", LONG, DOUBLE, DECIMAL],
    date: ["{ $date: string | { $numberLong: string } }"],
    binData: [BINARY],
    regex: ["{ $regularExpression: { pattern: string; options: string } }"],
  },
};

/** The type of one collection, as one role sees it. */
export interface TypedCollection {
  /** The name that clients use. */
  readonly name: string;
  readonly shape: Shape;
  /** Where the shape comes from, in words. */
  readonly origin: string;
}

/** The types of one role: the name of its rules, and the collections that have one. */
export interface TypedRole {
  readonly role: string;
  readonly collections: readonly TypedCollection[];
}

/** The text of a module with an interface for each collection and role, and one for the schema of each role. */
export function writeTypes(roles: readonly TypedRole[], mode: TypeMode): string {
  const parts = [
    `// Written by \`tidewire types\` for the value mode "${mode}". To change it, change the validators or the rules, and run it again.`,
  ];
  for (const { role, collections } of roles) {
    const names = distinctNames(collections.map(({ name }) => pascal(role) + pascal(name)));
    for (const [at, { name, shape, origin }] of collections.entries()) {
      const comment = `/** The documents of \`${name}\` as the rule \`${role}\` shows them. From ${origin}. */`;
      const of = shape.kind === "object" ? shape : { kind: "object" as const, fields: new Map() };
      parts.push(`${comment}\nexport interface ${names[at]} ${objectText(of.fields, mode, "")}`);
    }
    const rows = collections.map(({ name }, at) => `  ${key(name)}: ${names[at]};`);
    const schema = `/** The collections of the rule \`${role}\`: createClient<${pascal(role)}Schema>(…). */`;
    parts.push(`${schema}\nexport interface ${pascal(role)}Schema {\n${rows.join("\n")}\n}`);
  }
  if (parts.some((part) => /\bObjectId\b/.test(part)) && mode === "native")
    parts.splice(1, 0, 'import type { ObjectId } from "tidewire/client/native";');
  return `${parts.join("\n\n")}\n`;
}

function text(shape: Shape, mode: TypeMode, indent: string): string {
  switch (shape.kind) {
    case "unknown":
      return "unknown";
    case "scalar":
      return TYPES[mode][shape.type].join(" | ");
    case "literal":
      return JSON.stringify(shape.value);
    case "array": {
      const items = text(shape.items, mode, indent);
      return /^\w+$/.test(items) ? `${items}[]` : `(${items})[]`;
    }
    case "object":
      return shape.fields.size === 0 ? "Record<string, unknown>" : objectText(shape.fields, mode, indent);
    case "union": {
      const types = shape.of.flatMap((one) =>
        one.kind === "scalar" ? TYPES[mode][one.type] : text(one, mode, indent),
      );
      return types.length === 0 ? "never" : [...new Set(types)].join(" | ");
    }
  }
}

function objectText(
  fields: Extract<Shape, { kind: "object" }>["fields"],
  mode: TypeMode,
  indent: string,
): string {
  const inner = `${indent}  `;
  const rows = Array.from(
    fields,
    ([name, { shape, isOptional }]) =>
      `${inner}${key(name)}${isOptional ? "?" : ""}: ${text(shape, mode, inner)};`,
  );
  return `{\n${rows.join("\n")}\n${indent}}`;
}

const key = (name: string) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

/** `late-orders` as `LateOrders`. */
function pascal(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  return /^[A-Za-z]/.test(joined) ? joined : `T${joined}`;
}

/** Two collections may have names that differ only by their punctuation. */
function distinctNames(names: readonly string[]): readonly string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name}${count}`;
  });
}
