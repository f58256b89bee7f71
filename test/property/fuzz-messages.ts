/**
 * Hostile messages by the ten thousand. Right in structure to begin with (bad-input-samples.ts), then changed in their
 * text: a value replaced, nested or repeated, a key given twice, a part cut out. One seed gives one sequence.
 */
import fc from "fast-check";
import type { Random } from "../support/random.ts";
import { anySample } from "./bad-input-samples.ts";

const CORPUS = 1_500;
/** Beyond this a message closes with 1009, which is asked elsewhere. */
const TEXT_MAX = 60_000;

/** Values in the place of others, as texts of JSON or nearly so. */
const HOSTILE = [
  "null",
  "true",
  "-0",
  "1e999",
  "-1e999",
  "123456789012345678901234567890",
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"\\udfff\\ud800"',
  '"__proto__"',
  '"constructor"',
  "{}",
  "[]",
  '{"__proto__":{"polluted":1}}',
  '{"_bsontype":"ObjectId"}',
  '{"_bsontype":"Binary","buffer":null}',
  '{"toJSON":1,"toBSON":1,"then":1}',
  '{"$oid":"zz"}',
  '{"$numberLong":"9223372036854775808"}',
  '{"$date":{"$numberLong":"9999999999999999999"}}',
  '{"$binary":{"base64":"","subType":"zz"}}',
  '{"$ref":"a","$id":1}',
  '{"_placeholder":true,"num":0}',
  '{"length":4294967295}',
  "undefined",
  "NaN",
];
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;

/** Where a value or a key lies in a text. */
function tokenIn(text: string, random: Random): { start: number; end: number } | undefined {
  const tokens = Array.from(text.matchAll(TOKEN));
  if (tokens.length === 0) return undefined;
  const { index, 0: token } = random.pick(tokens);
  return { start: index, end: index + token.length };
}

const nest = (value: string, depth: number, random: Random) =>
  random.chance(0.5)
    ? `${"[".repeat(depth)}${value}${"]".repeat(depth)}`
    : `${'{"a":'.repeat(depth)}${value}${"}".repeat(depth)}`;

/** Mostly within what limits allow, sometimes as deep as a message can be. */
const depthFrom = (random: Random) => (random.chance(0.97) ? random.int(1, 130) : random.int(131, 9_000));

type Mutation = (text: string, start: number, end: number, random: Random) => string;

const replaced = (text: string, start: number, end: number, by: string) =>
  text.slice(0, start) + by + text.slice(end);

const MUTATIONS: readonly Mutation[] = [
  (text, start, end, random) => replaced(text, start, end, random.pick(HOSTILE)),
  (text, start, end, random) =>
    replaced(text, start, end, nest(text.slice(start, end), depthFrom(random), random)),
  (text, start, end, random) =>
    replaced(text, start, end, `[${Array(random.int(1, 1_200)).fill(text.slice(start, end)).join()}]`),
  (text, start, end, random) => replaced(text, start, end, `"${"x".repeat(random.int(1, 3_000))}"`),
  (text, _start, _end, random) => text.replace("{", `{"id":${random.pick(HOSTILE)},`),
  (text, _start, _end, random) => text.replace("{", `{"filter":${random.pick(HOSTILE)},`),
  (text, start, end) => text.slice(0, start) + text.slice(end),
  (text, start, _end, random) =>
    text.slice(0, start) +
    random.pick(["\u0000", "\ud800", "\u2028", ",", "]", "}", "\\"]) +
    text.slice(start),
];

export class FuzzMessages {
  readonly #random: Random;
  readonly #corpus: readonly string[];
  #id = 0;

  constructor(random: Random) {
    this.#random = random;
    const seed = random.int(0, 2 ** 31 - 1);
    this.#corpus = fc.sample(anySample, { numRuns: CORPUS, seed }).map(({ text }) => text);
  }

  /** One more message, as text. */
  next(): string {
    const random = this.#random;
    let text = random.pick(this.#corpus).replaceAll('"ID"', () => `"m${this.#id++}"`);
    for (let changes = random.pick([0, 0, 0, 1, 1, 2]); changes > 0; changes--) {
      const token = tokenIn(text, random);
      if (token === undefined) break;
      const changed = random.pick(MUTATIONS)(text, token.start, token.end, random);
      if (Buffer.byteLength(changed) <= TEXT_MAX) text = changed;
    }
    return text;
  }
}

/** The object that a text stands for, where it is one. */
export function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined; // the keys of a JSON object are strings
  } catch {
    return undefined;
  }
}

/** A packet of Socket.IO that no client of the library would send: wrong types, namespaces, ids and counts. */
export function hostilePacket(text: string, random: Random): string {
  const packets: readonly (() => string)[] = [
    () => `42["subscribe",${text}]`,
    () => `42[${text}]`,
    () => `42${text}`,
    () =>
      `42${random.int(0, 2 ** 31)}["${random.pick(["ping", "fence", "error", "connect", "disconnect", "newListener", "__proto__"])}",${text}]`,
    () => `42${"9".repeat(random.int(1, 400))}["ping",${text}]`,
    () => `45${random.int(0, 20)}-["subscribe",${text},{"_placeholder":true,"num":${random.int(-1, 3)}}]`,
    () => `46${random.int(0, 3)}-1[${text}]`,
    () => `43${random.int(0, 9)}[${text}]`,
    () => `40${random.pick(["", "/", "/nowhere,", "/__proto__,", `/${"x".repeat(2_000)},`])}${text}`,
    () => `41${random.pick(["", "/nowhere,"])}`,
    () => `44${text}`,
    () => `4${random.int(7, 99)}${text}`,
    () => `${random.pick(["0", "1", "2", "2probe", "3", "3probe", "5", "6", "7", "b", ""])}${text}`,
    () => text,
  ];
  return random.pick(packets)().slice(0, TEXT_MAX);
}
