import { z } from "zod";
import { closest } from "../match/did-you-mean.ts";
import type { ConfigText, Path } from "./config-text.ts";
import { exampleAt, isOneOrMore, optionAt, unitOf, unwrap } from "./schema-walk.ts";

/** A schema's findings as locations in the file and texts that say what was found, what is allowed, what to write. */
export function fileIssues(
  root: z.core.$ZodType,
  error: z.ZodError,
  source: ConfigText,
): { path: Path; message: string }[] {
  return error.issues.map((issue) => {
    const path = filePath(root, issue.path, source);
    return { path, message: issueText(root, issue, path, source) };
  });
}

/** `["server", "heartbeatMs"]` as `["server", "heartbeat"]`. */
function filePath(root: z.core.$ZodType, codePath: readonly PropertyKey[], source: ConfigText): Path {
  const path: (string | number)[] = [];
  for (const part of codePath) {
    const parent = optionAt(root, path);
    const isTheOnlyOne =
      parent !== undefined && isOneOrMore(unwrap(parent.schema)) && source.found(path) === "a map";
    if (isTheOnlyOne && typeof part === "number") continue;
    const key = typeof part === "number" ? part : String(part);
    const inner = parent === undefined ? undefined : unwrap(parent.schema);
    const isOption =
      inner instanceof z.ZodObject || (inner !== undefined && isOneOrMore(inner) && typeof key === "string");
    path.push(isOption && typeof key === "string" ? (unitOf(key)?.fileKey ?? key) : key);
  }
  return path;
}

function issueText(root: z.core.$ZodType, issue: z.core.$ZodIssue, path: Path, source: ConfigText): string {
  const found = source.found(path);
  // Schemas have a text of their own if a type and a range do not say enough. Otherwise the message is only the issue's
  // code.
  const own = issue.message === issue.code ? undefined : issue.message;
  const option = optionAt(root, path);
  const allowed =
    own ?? (option === undefined ? "another value" : allowedText(option.schema, option.codeKey));
  const example = exampleAt(root, path);
  const advice = own?.includes(". ") || example === undefined ? "" : `. Write for example \`${example}\``;
  if (found === "nothing") return `missing: ${allowed}${advice}`;
  if (found === "a map" && own !== undefined) return `allowed: ${allowed}${advice}`;
  return `found ${found}; allowed: ${allowed}${guess(option?.schema, found)}${forNumbers(found, allowed)}${advice}`;
}

function guess(schema: z.core.$ZodType | undefined, found: string): string {
  const inner = schema === undefined ? undefined : unwrap(schema);
  if (!(inner instanceof z.ZodEnum)) return "";
  const near = closest(found.replaceAll('"', ""), inner.options.map(String));
  return near === undefined ? "" : ` (did you mean ${near}?)`;
}

function forNumbers(found: string, allowed: string): string {
  return found.includes("${") && /number|true or false/.test(allowed)
    ? " (environment variables fill texts only; write it out)"
    : "";
}

/** The permitted values of an option, in words: its type, its range in the file's units, its choices. */
export function allowedText(schema: z.core.$ZodType, codeKey: string): string {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodNumber) return numberText(inner, codeKey);
  if (inner instanceof z.ZodEnum) return `one of ${inner.options.join(", ")}`;
  if (inner instanceof z.ZodLiteral) return [...inner.values].join(", ");
  if (inner instanceof z.ZodUnion)
    return inner.options.map((option) => allowedText(option, codeKey)).join("; or ");
  if (inner instanceof z.ZodBoolean) return "true or false";
  if (inner instanceof z.ZodString) {
    const { minLength, maxLength } = inner;
    return maxLength === null
      ? "a string, not empty"
      : `a string of ${minLength ?? 0} to ${maxLength} characters`;
  }
  if (inner instanceof z.ZodArray) return "a list that is not empty";
  if (inner instanceof z.ZodObject) return `a map of ${Object.keys(inner.shape).map(fileKey).join(", ")}`;
  if (inner instanceof z.ZodRecord)
    return inner.valueType instanceof z.ZodUnknown && FILTERS.has(codeKey) ? "a filter, as a map" : "a map";
  return "another value";
}

/** Maps of anything with these names are filters; others hold claims, for example. */
const FILTERS = new Set(["filter", "when"]);

const fileKey = (codeKey: string) => unitOf(codeKey)?.fileKey ?? codeKey;

function numberText(schema: z.ZodNumber, codeKey: string): string {
  const unit = unitOf(codeKey);
  const write = (value: number) => unit?.format(value) ?? String(value);
  const { minValue, maxValue } = schema;
  const words = unit === undefined ? (schema.isInt ? "a whole number" : "a number") : unit.words;
  const from = minValue === null || minValue <= Number.MIN_SAFE_INTEGER ? "" : write(minValue);
  const to = maxValue === null || maxValue >= Number.MAX_SAFE_INTEGER ? "" : write(maxValue);
  if (from !== "" && to !== "") return `${words}, from ${from} to ${to}`;
  if (from !== "") return minValue === 0 && !schema.isInt ? `${words} above 0` : `${words}, at least ${from}`;
  return to === "" ? words : `${words}, at most ${to}`;
}
