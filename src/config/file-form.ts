import { z } from "zod";
import { closest } from "../match/did-you-mean.ts";
import type { ConfigText, Path } from "./config-text.ts";
import { fileShape, isOneOrMore, type Unit, unitOf, unwrap } from "./schema-walk.ts";

/** Begins keys at the top of the file that mean nothing to the service. */
export const EXTENSION = "x-";

/** Notes a problem at a path of the file: at its key, or at its value (the default). */
export type Report = (path: Path, message: string, at?: "key" | "value") => void;

/**
 * The file's form of a configuration as the code's: durations and sizes become numbers, `heartbeat` becomes
 * `heartbeatMs`. Unknown keys and values without a unit are reported and omitted, so that the schema can check the rest.
 */
export function toCodeForm(
  schema: z.core.$ZodType,
  value: unknown,
  source: ConfigText,
  report: Report,
  path: Path = [],
): unknown {
  const inner = unwrap(schema);
  if (isOneOrMore(inner) && typeof value === "object" && value !== null && !Array.isArray(value))
    return [toCodeForm(inner.element, value, source, report, path)];
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    return value.map((item, index) => toCodeForm(inner.element, item, source, report, [...path, index]));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if (inner instanceof z.ZodRecord) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        toCodeForm(inner.valueType, item, source, report, [...path, key]),
      ]),
    );
  }
  if (!(inner instanceof z.ZodObject)) return value;
  const shape = fileShape(inner);
  const entries: [string, unknown][] = [];
  for (const [key, item] of Object.entries(value)) {
    const here = [...path, key];
    const option = shape.get(key);
    if (option === undefined) {
      // Keys for anchors, as in Compose.
      if (path.length === 0 && key.startsWith(EXTENSION)) continue;
      report(here, unknownKey(key, [...shape.keys()]), "key");
      continue;
    }
    const unit = unitOf(option.codeKey);
    if (unit === undefined) {
      entries.push([option.codeKey, toCodeForm(option.schema, item, source, report, here)]);
      continue;
    }
    const number = typeof item === "string" ? unit.parse(item) : undefined;
    if (number === undefined) report(here, wrongUnit(key, item, unit, source.found(here)));
    else entries.push([option.codeKey, number]);
  }
  return Object.fromEntries(entries);
}

function unknownKey(key: string, known: readonly string[]): string {
  // `heartbeatMs: 25000` is a likely mistake of a user who knows the code.
  const guess = known.includes(key.replace(/Ms$/, "")) ? key.replace(/Ms$/, "") : closest(key, known);
  const advice = guess === undefined ? "Remove it." : `Did you mean ${JSON.stringify(guess)}?`;
  return `unknown key ${JSON.stringify(key)}. ${advice} Allowed here: ${known.join(", ")}`;
}

function wrongUnit(key: string, item: unknown, unit: Unit, found: string): string {
  // A user who wrote 30 most likely meant 30 of the unit in which this option is usually written.
  const digits = /^ *(\d{1,9}) *([A-Za-z]*)/.exec(String(item)) ?? [];
  const example = digits[1] === undefined ? unit.example : digits[1] + nearestUnit(digits[2] ?? "", unit);
  return `found ${found}; allowed: ${unit.words}, always with its unit. Write for example \`${key}: ${example}\``;
}

/** `KB`, `kib` and `K` were meant as `KiB`, `sec` as `s`. */
function nearestUnit(written: string, unit: Unit): string {
  const letter = written.charAt(0).toLowerCase();
  if (written.toLowerCase() === "ms") return "ms";
  return unit.units.find((name) => letter !== "" && name.toLowerCase().startsWith(letter)) ?? unit.ordinary;
}
