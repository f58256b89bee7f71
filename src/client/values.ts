/**
 * Values of documents as MongoDB compares them, as far as their form in a message shows their type. In the value mode
 * `"json"` an ObjectId, a date and a long number are text, and are compared as text.
 */

/** The types of BSON in the order in which MongoDB sorts them. A missing value counts as null. */
export const CLASSES = [
  "null",
  "number",
  "string",
  "object",
  "array",
  "binData",
  "objectId",
  "bool",
  "date",
  "timestamp",
  "regex",
] as const;
/** One of `CLASSES`. */
export type ValueClass = (typeof CLASSES)[number];

/** The class of a value in Extended JSON, by its only or first key. */
const EXTENDED: Readonly<Record<string, ValueClass>> = {
  $oid: "objectId",
  $date: "date",
  $numberLong: "number",
  $numberInt: "number",
  $numberDouble: "number",
  $numberDecimal: "number",
  $uuid: "binData",
  $binary: "binData",
  $timestamp: "timestamp",
  $regularExpression: "regex",
};

/** The content of a value in Extended JSON, and undefined for any other value. */
function extendedOf(value: unknown): { readonly key: string; readonly content: unknown } | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const [entry, ...more] = Object.entries(value);
  if (entry === undefined || more.length > 0 || EXTENDED[entry[0]] === undefined) return undefined;
  return { key: entry[0], content: entry[1] };
}

/** Of the BSON library, or of `tidewire/client/native`. */
const isObjectId = (value: unknown): value is { toHexString(): string } =>
  typeof value === "object" && value !== null && "_bsontype" in value && value._bsontype === "ObjectId";

/** The class of a value, by which it sorts before anything else. */
export function classOf(value: unknown): ValueClass {
  switch (typeof value) {
    case "undefined":
      return "null";
    case "number":
    case "bigint":
      return "number";
    case "boolean":
      return "bool";
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) return "array";
      if (value instanceof Date) return "date";
      if (isObjectId(value)) return "objectId";
      return EXTENDED[extendedOf(value)?.key ?? ""] ?? "object";
    default:
      return "string";
  }
}

/** The plain value that compares as this one does within its class, and as it is written in the mode `"json"`. */
export function plainOf(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (isObjectId(value)) return value.toHexString();
  const extended = extendedOf(value);
  if (extended === undefined) return value;
  const { key, content } = extended;
  if (key === "$date") {
    const isText = typeof content === "string";
    const ms = isText ? content : Number((content as { $numberLong?: string }).$numberLong);
    const date = new Date(ms);
    return Number.isNaN(date.getTime()) ? value : date.toISOString();
  }
  if (EXTENDED[key] !== "number") return typeof content === "string" ? content : JSON.stringify(content);
  return isWide(String(content)) ? BigInt(String(content)) : Number(content);
}

/** Whether a number would lose digits as a number of JavaScript. */
const isWide = (text: string) => /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text));

/**
 * Compares two values as MongoDB sorts them: by class, then by value.
 * @returns Negative, 0 or positive. 0 also for two objects or two arrays that differ, which are not compared.
 */
export function compareValues(a: unknown, b: unknown): number {
  const [classOfA, classOfB] = [classOf(a), classOf(b)];
  if (classOfA !== classOfB) return CLASSES.indexOf(classOfA) - CLASSES.indexOf(classOfB);
  if (classOfA === "object" || classOfA === "array" || classOfA === "null") return 0;
  const [plainA, plainB] = [plainOf(a), plainOf(b)];
  if (typeof plainA === "string" && typeof plainB === "string") return compareText(plainA, plainB);
  return compareNumbers(plainA as number, plainB as number); // or booleans, or long integers, which `<` compares
}

/** NaN sorts before every other number. */
function compareNumbers(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(b)) - Number(Number.isNaN(a));
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By code points, as the simple collation does. JavaScript compares by UTF-16 units, which sort otherwise from U+E000 on. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  if (at === length) return a.length - b.length;
  // A surrogate begins or ends a code point above all others.
  const weight = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
  return weight(a.charCodeAt(at)) - weight(b.charCodeAt(at));
}

/** The values at a dotted path, also of the items of arrays on the way. None if the path is missing. */
export function valuesAt(value: unknown, [head, ...rest]: readonly string[]): readonly unknown[] {
  if (head === undefined) return [value];
  if (Array.isArray(value)) {
    const found = value.flatMap((item) => (Array.isArray(item) ? [] : valuesAt(item, [head, ...rest])));
    return /^\d+$/.test(head) ? [...found, ...valuesAt(value[Number(head)], rest)] : found;
  }
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, head)) return [];
  return valuesAt((value as Record<string, unknown>)[head], rest);
}

/** The value by which a document sorts: of an array the least or the greatest item, null if there is none. */
function sortValue(doc: unknown, path: string, direction: 1 | -1): unknown {
  const values = valuesAt(doc, path.split(".")).flatMap((value) => (Array.isArray(value) ? value : [value]));
  return values.reduce(
    (best, value) => (compareValues(value, best) * direction < 0 ? value : best),
    values[0] ?? null,
  );
}

/** Compares two documents in the order of a sorted query: by its paths, then by `_id`. */
export function compareDocs(
  a: object,
  b: object,
  sort: readonly (readonly [path: string, direction: 1 | -1])[],
): number {
  for (const [path, direction] of [...sort, ["_id", 1] as const]) {
    const order = compareValues(sortValue(a, path, direction), sortValue(b, path, direction)) * direction;
    if (order !== 0) return order;
  }
  return 0;
}
