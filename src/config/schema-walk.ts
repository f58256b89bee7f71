import { z } from "zod";
import { DURATION, formatDuration, formatSize, parseDuration, parseSize, SIZE } from "./units.ts";

/** A schema without its defaults, optionals and read-only marks. */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodReadonly
  ) {
    inner = inner.unwrap();
  }
  return inner;
}

/** Marks a list whose single entry may be written in the file without the list. */
export const ONE_OR_MORE = "oneOrMore";

/** Whether a list of one may be written as that one entry. The code always has the list. */
export const isOneOrMore = (schema: z.core.$ZodType): schema is z.ZodArray =>
  schema instanceof z.ZodArray && z.globalRegistry.get(schema)?.[ONE_OR_MORE] === true;

/** How the file writes a number of the code: `heartbeatMs` as `heartbeat: 25s`, `bytes` as `bytes: 64MiB`. */
export interface Unit {
  readonly fileKey: string;
  readonly words: string;
  readonly pattern: string;
  /** The unit that a number without one most likely meant. */
  readonly ordinary: string;
  readonly units: readonly string[];
  readonly example: string;
  readonly parse: (text: string) => number | undefined;
  readonly format: (value: number) => string;
}

/** The unit that an option's name ends in, if it is a number with one. */
export function unitOf(codeKey: string): Unit | undefined {
  if (codeKey.endsWith("Ms")) {
    return { fileKey: codeKey.slice(0, -2), ...DURATION, parse: parseDuration, format: formatDuration };
  }
  if (codeKey === "bytes" || codeKey.endsWith("Bytes")) {
    return { fileKey: codeKey, ...SIZE, parse: parseSize, format: formatSize };
  }
  return undefined;
}

/** An object schema's options under the names that they have in the file. */
export function fileShape(schema: z.ZodObject): Map<string, { codeKey: string; schema: z.core.$ZodType }> {
  return new Map(
    Object.entries(schema.shape).map(([codeKey, option]) => [
      unitOf(codeKey)?.fileKey ?? codeKey,
      { codeKey, schema: option },
    ]),
  );
}

/** The schema and the name of the option that a path of the file leads to; `undefined` where there is none. */
export function optionAt(
  root: z.core.$ZodType,
  path: readonly PropertyKey[],
): { schema: z.core.$ZodType; codeKey: string } | undefined {
  let schema = root;
  let codeKey = "";
  for (const part of path) {
    const list = unwrap(schema);
    const inner = isOneOrMore(list) && typeof part === "string" ? unwrap(list.element) : list;
    codeKey = String(part);
    if (inner instanceof z.ZodObject) {
      const option = fileShape(inner).get(codeKey);
      if (option === undefined) return undefined;
      ({ codeKey, schema } = option);
    } else if (inner instanceof z.ZodArray) schema = inner.element;
    else if (inner instanceof z.ZodRecord) schema = inner.valueType;
    else return undefined;
  }
  return { schema, codeKey };
}

/** A value of the code as the file would write it. */
export function toFileText(codeKey: string, value: unknown): string {
  const unit = unitOf(codeKey);
  if (unit !== undefined && typeof value === "number") return unit.format(value);
  return typeof value === "string" && /^[\w./-]+$/.test(value) ? value : JSON.stringify(value);
}

/** A correct line for this location, from the option's examples or its default. */
export function exampleAt(root: z.core.$ZodType, path: readonly PropertyKey[]): string | undefined {
  const option = optionAt(root, path);
  const key = path.at(-1);
  if (option === undefined || typeof key !== "string") return undefined;
  const value = exampleValue(option.schema);
  return value === undefined ? undefined : `${key}: ${toFileText(option.codeKey, value)}`;
}

function exampleValue(schema: z.core.$ZodType): unknown {
  const examples = z.globalRegistry.get(schema)?.["examples"];
  if (Array.isArray(examples) && examples.length > 0) return examples[0];
  return schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined;
}
