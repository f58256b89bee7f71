import type { ConfigProblem, ConfigText, Path } from "./config-text.ts";
import { plainLogins } from "./plain-logins.ts";

/** A single `%` in the place of the `%%` that begins a placeholder. */
const HALF_PLACEHOLDER = /^%(?:(?:oid|date|words):)?(?:user|lookup|now)(?:$|[.[])/;
const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/;

/** The conditions of rules that are valid and can hardly do what they say, and logins that anyone on the network can read. */
export function warningsOf(source: ConfigText): ConfigProblem[] {
  const logins = [...plainLogins(source.value)].map(({ path, message }) => source.problem(path, message));
  return [...warnings(source, source.value, []), ...logins];
}

const isCondition = (path: Path) =>
  (path[0] === "collections" || path[0] === "presence") && (path.includes("filter") || path.includes("when"));

function* warnings(source: ConfigText, value: unknown, path: Path): Generator<ConfigProblem> {
  if (typeof value === "string" && isCondition(path)) {
    const message = warningOf(value, source.isUnquoted(path));
    if (message !== undefined) yield source.problem(path, message);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* warnings(source, item, [...path, index]);
  } else if (typeof value === "object" && value !== null) {
    // `{ $date: "…" }` is a date already.
    for (const [key, item] of Object.entries(value))
      if (key !== "$date") yield* warnings(source, item, [...path, key]);
  }
}

function warningOf(text: string, isUnquoted: boolean): string | undefined {
  if (HALF_PLACEHOLDER.test(text))
    return `this is the plain string ${JSON.stringify(text)}. Write "%${text}" for the claim, the lookup or the time`;
  if (isUnquoted && DATE.test(text))
    return `${text} is a string here and equals no date. Write { $date: "${isoOf(text)}" } for a date, or put the string in quotes`;
  return undefined;
}

function isoOf(text: string): string {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}
