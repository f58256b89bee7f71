import { type OutputUnit, type Schema, Validator } from "@cfworker/json-schema";
import { isMap, isPair, isScalar, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import type { Problem } from "./problem.ts";
import { SCHEMA } from "./schema.ts";

// The class takes every schema; the type names the keywords of another draft as well.
const validator = new Validator(SCHEMA as Schema, "2020-12", false);

/** Keywords that only say that something below is wrong. */
const OUTER = new Set([
  "properties",
  "items",
  "additionalProperties",
  "patternProperties",
  "propertyNames",
  "allOf",
]);
const PROBLEMS_MAX = 100;

/** Sections of a draft that the node ignores, if a draft is a rule set. */
const isOfSet = ({ instanceLocation }: OutputUnit) => /^#(?:$|\/collections(?:$|\/))/.test(instanceLocation);

/** A draft of the rules has no section `auth`, for example. The node reports a section that it needs. */
const isMissingSection = ({ keyword, instanceLocation }: OutputUnit) =>
  keyword === "required" && instanceLocation === "#";

/**
 * Checks a draft in the page, at once: its syntax, and the names and types of its options. The node checks everything,
 * and its answer replaces this one.
 * @param isRuleSet Whether the draft is a rule set, of which only the collections count.
 */
export function checkYaml(text: string, isRuleSet = false): readonly Problem[] {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, merge: true, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = counter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (document.errors.length > 0)
    return document.errors
      .slice(0, PROBLEMS_MAX)
      .map(({ message, pos: [offset] }) => ({ ...at(offset), path: "", message }));
  const { valid, errors } = validator.validate(document.toJS({ maxAliasCount: 100 }));
  if (valid) return [];
  return leavesOf(errors)
    .filter((error) => !isMissingSection(error) && (!isRuleSet || isOfSet(error)))
    .slice(0, PROBLEMS_MAX)
    .map((error) => {
      const steps = stepsOf(error.instanceLocation);
      const path = steps.join(".");
      return { ...at(offsetOf(document.contents, steps)), path, message: messageOf(error) };
    });
}

/** The errors without those that only repeat another one: the parents, and the branches of an alternative. */
function leavesOf(errors: readonly OutputUnit[]): OutputUnit[] {
  const choices = errors.filter(({ keyword }) => keyword === "anyOf" || keyword === "oneOf");
  const isInChoice = ({ keywordLocation }: OutputUnit) =>
    choices.some((choice) => keywordLocation.startsWith(`${choice.keywordLocation}/`));
  return errors.filter((error) => !OUTER.has(error.keyword) && !isInChoice(error));
}

const stepsOf = (location: string): string[] =>
  location
    .replace(/^#\/?/, "")
    .split("/")
    .filter((step) => step !== "")
    .map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"));

function messageOf({ keyword, error, instanceLocation }: OutputUnit): string {
  const name = stepsOf(instanceLocation).at(-1) ?? "";
  if (keyword === "false") return `there is no option ${name} here`;
  if (keyword === "anyOf" || keyword === "oneOf") return `${name || "this"} has none of the allowed forms`;
  return error.replace(/^Instance /, `${name || "the configuration"} `).replace(/\.$/, "");
}

/** Where a value begins; for an unknown option, where its key does. */
function offsetOf(contents: unknown, steps: readonly string[]): number {
  let node: unknown = contents;
  let offset = 0;
  for (const step of steps) {
    const found = childOf(node, step);
    if (found === undefined) return offset;
    offset = found.offset;
    node = found.value;
  }
  return offset;
}

function childOf(node: unknown, step: string): { value: unknown; offset: number } | undefined {
  const items = typeof node === "object" && node !== null && "items" in node ? node.items : undefined;
  if (!Array.isArray(items)) return undefined;
  if (isMap(node)) {
    const pair = node.items.find((item): item is Pair => isPair(item) && keyOf(item) === step);
    return pair && { value: pair.value, offset: startOf(pair.key) };
  }
  const value: unknown = items[Number(step)];
  return value === undefined ? undefined : { value, offset: startOf(value) };
}

const keyOf = ({ key }: Pair): string => String(isScalar(key) ? key.value : key);
/** Nodes that were parsed have a range. */
const startOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0;
