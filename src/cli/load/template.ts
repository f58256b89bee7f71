/**
 * Placeholders in the texts of a scenario, such as `{{user}}` and `{{i % 10}}`. They are compiled once, because a run
 * fills them for each of thousands of virtual users.
 */
import { closest } from "../../match/did-you-mean.ts";
import { UsageError } from "../command.ts";

/** The values of placeholders, by name. */
export type Values = Readonly<Record<string, string | number>>;

/** The names that a template may use, and whether a value can be calculated with. */
export type Names = Readonly<Record<string, "number" | "text">>;

/** A template that is ready to be filled. */
export type Template = (values: Values) => unknown;

const PLACEHOLDER = /\{\{([^{}]*)\}\}/g;
const NAME = /^[a-z]\w*$/i;
const WHOLE_NUMBER = /^\d{1,15}$/;

/**
 * Compiles a value of JSON whose texts, at any depth, may have placeholders. A text that is one placeholder and nothing
 * else becomes the value itself, so that `"{{i % 10}}"` is a number; every other text remains a text.
 * @param path Of the value in the scenario, for errors.
 * @throws {UsageError} A placeholder is malformed, or its name is unknown.
 */
export function compileTemplate(value: unknown, names: Names, path: string): Template {
  if (typeof value === "string") return compileText(value, names, path);
  if (Array.isArray(value)) {
    const items = value.map((item, at) => compileTemplate(item, names, `${path}[${at}]`));
    return (values) => items.map((item) => item(values));
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(
      ([key, item]) => [key, compileTemplate(item, names, `${path}.${key}`)] as const,
    );
    return (values) => Object.fromEntries(entries.map(([key, item]) => [key, item(values)]));
  }
  return () => value;
}

function compileText(text: string, names: Names, path: string): Template {
  const parts: (string | ((values: Values) => string | number))[] = [];
  let end = 0;
  for (const match of text.matchAll(PLACEHOLDER)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    parts.push(compileExpression(match[1] ?? "", names, path));
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  const rest = parts.filter((part) => typeof part === "string").join("");
  if (rest.includes("{{") || rest.includes("}}"))
    throw new UsageError(`${path}: ${JSON.stringify(text)} has {{ or }} without the other`);
  const [only] = parts;
  if (parts.length === 1 && typeof only === "function") return only;
  return (values) => parts.map((part) => (typeof part === "string" ? part : part(values))).join("");
}

/** An expression of names, whole numbers and + - * / %, where * / % bind more strongly. */
function compileExpression(text: string, names: Names, path: string): (values: Values) => string | number {
  const fail = (reason: string): never => {
    throw new UsageError(`${path}: in {{${text}}}, ${reason}`);
  };
  const tokens = text.match(/[a-z]\w*|\d+|[-+*/%]|\S/gi) ?? fail("a name is missing, such as {{i}}");
  if (tokens.length % 2 === 0) fail("an operator lacks a value: write it as {{i % 10}}");
  const operands = tokens
    .filter((_token, at) => at % 2 === 0)
    .map((token) => compileOperand(token, names, tokens.length > 1, fail));
  const operators = tokens.filter((_token, at) => at % 2 === 1);
  const unknown = operators.find((operator) => !/^[-+*/%]$/.test(operator));
  if (unknown !== undefined) fail(`${unknown} is not an operator: use + - * / %`);
  for (const [at, operator] of operators.entries()) {
    const divisor = tokens[at * 2 + 2] ?? "";
    if (!/[/%]/.test(operator)) continue;
    if (Number(divisor) === 0) fail("it divides by 0");
    // Every number begins at 0.
    if (NAME.test(divisor)) fail(`it divides by ${divisor}, which begins at 0: divide by a whole number`);
  }
  const [first] = operands;
  if (operators.length === 0 && first !== undefined) return first;
  return (values) =>
    calculate(
      operands.map((operand) => Number(operand(values))),
      operators,
    );
}

function compileOperand(
  token: string,
  names: Names,
  isCalculated: boolean,
  fail: (reason: string) => never,
): (values: Values) => string | number {
  if (WHOLE_NUMBER.test(token)) return () => Number(token);
  if (!NAME.test(token)) fail(`${token} is neither a name nor a whole number`);
  const kind = Object.hasOwn(names, token) ? names[token] : undefined;
  if (kind === undefined) {
    const near = closest(token, Object.keys(names));
    const guess = near === undefined ? "" : ` Did you mean ${near}?`;
    fail(`${token} is unknown here.${guess} Known: ${Object.keys(names).join(", ")}`);
  }
  if (isCalculated && kind === "text") fail(`${token} is a text, which cannot be calculated with`);
  return (values) => values[token] ?? "";
}

function calculate(operands: readonly number[], operators: readonly string[]): number {
  let sum = 0;
  let sign = 1;
  let product = operands[0] ?? 0;
  for (const [at, operator] of operators.entries()) {
    const operand = operands[at + 1] ?? 0;
    if (operator === "*") product *= operand;
    else if (operator === "/") product = Math.floor(product / operand);
    else if (operator === "%") product %= operand;
    else {
      sum += sign * product;
      sign = operator === "-" ? -1 : 1;
      product = operand;
    }
  }
  return sum + sign * product;
}
