/** Answers that fit into the context of an agent. */

/** How much of a value is kept: characters of a string, items of a list, names of an object. */
interface Cut {
  readonly characters: number;
  readonly items: number;
}

/** From gentle to harsh. The objects of every output schema have fewer names than the least of these. */
const CUTS: readonly Cut[] = [
  { characters: 4_000, items: 400 },
  { characters: 1_000, items: 100 },
  { characters: 400, items: 30 },
  { characters: 100, items: 10 },
  { characters: 40, items: 3 },
  { characters: 20, items: 1 },
];
const NAMES_MIN = 20;

/** A value, and whether something of it was left out. */
export interface Fitted<T> {
  readonly value: T;
  readonly isCut: boolean;
}

/**
 * A value whose JSON has at most `max` characters. Strings are cut at their end, lists keep their first items.
 * @returns `null` if the harshest cut is still too long.
 */
export function fitValue<T>(value: T, max: number): Fitted<T> | null {
  if (JSON.stringify(value).length <= max) return { value, isCut: false };
  for (const cut of CUTS) {
    const shorter = shortened(value, cut);
    if (JSON.stringify(shorter).length <= max) return { value: shorter, isCut: true };
  }
  return null;
}

function shortened<T>(value: T, cut: Cut): T;
function shortened(value: unknown, cut: Cut): unknown {
  if (typeof value === "string")
    return value.length <= cut.characters ? value : `${cutAt(value, cut.characters - 1)}…`;
  if (Array.isArray(value)) return value.slice(0, cut.items).map((item) => shortened<unknown>(item, cut));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).slice(0, Math.max(cut.items, NAMES_MIN));
  return Object.fromEntries(entries.map(([key, item]) => [key, shortened<unknown>(item, cut)]));
}

/** A text of at most `max` characters, cut at a line, with a note about the rest. */
export function fitText(text: string, max: number): Fitted<string> {
  if (text.length <= max) return { value: text, isCut: false };
  const note = (left: number) =>
    `\n… ${left} more characters. Ask for less: one collection, fewer fields, a narrower filter`;
  const room = max - note(text.length).length;
  const lineEnd = text.lastIndexOf("\n", room);
  const end = lineEnd > room / 2 ? lineEnd : room;
  return { value: cutAt(text, end) + note(text.length - end), isCut: true };
}

/** The beginning of a text. It does not end between the halves of a character. */
function cutAt(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  const isFirstHalf = last >= 0xd8_00 && last <= 0xdb_ff;
  return text.slice(0, isFirstHalf ? length - 1 : length);
}

/** More levels than a document of MongoDB may have are a mistake or an attack on recursive code. */
const DEPTH_MAX = 100;

/** Whether a value nests deeper than any document. Not recursive, because the value may be an attack on that. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= DEPTH_MAX; depth += 1) {
    level = level.flatMap((item) => (typeof item === "object" && item !== null ? Object.values(item) : []));
    if (level.length === 0) return false;
  }
  return true;
}
