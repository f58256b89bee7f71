/** The server's own `$group` as the judge of live aggregates. Sums are computed from the values, in another way than in `src`. */
import assert from "node:assert/strict";
import { BSON, type Db, Decimal128, Double, Int32, Long, Timestamp } from "mongodb";
import { groupKey } from "../../src/feed/group-id.ts";
import type { Aggregate } from "../../src/match/aggregate.ts";
import { fromJs } from "../../src/match/bson-value.ts";
import { valueKey } from "../../src/match/value-key.ts";

type Row = Record<string, unknown>;

/** The rows that the server gives at a cluster time, by the key of the `_id`. */
export async function groupsAt(
  db: Db,
  collection: string,
  filter: object,
  { by, values }: Aggregate,
  clusterTime: bigint,
): Promise<Map<string, Row>> {
  const fields = values.map(({ name, operator, path }) => {
    if (operator === "count") return [name, { $sum: 1 }];
    return [
      name,
      operator === "min" || operator === "max" ? { [`$${operator}`]: `$${path}` } : { $push: `$${path}` },
    ];
  });
  const answer = await db.command(
    {
      aggregate: collection,
      pipeline: [{ $match: filter }, { $group: { _id: idOf(by), ...Object.fromEntries(fields) } }],
      cursor: { batchSize: 100_000 },
      readConcern: { level: "snapshot", atClusterTime: new Timestamp(clusterTime) },
    },
    { promoteValues: false },
  );
  const rows = new Map<string, Row>();
  for (const row of answer["cursor"].firstBatch as Row[]) rows.set(keyOf(row["_id"]), row);
  if (by === null && rows.size === 0) {
    const empty = values.map(({ name, operator }) => [name, emptyOf(operator)]);
    rows.set(keyOf(null), { _id: null, ...Object.fromEntries(empty) });
  }
  return rows;
}

const emptyOf = (operator: string) =>
  operator === "count" ? new Int32(0) : operator === "sum" || operator === "avg" ? [] : null;

const keyOf = (id: unknown) => groupKey(fromJs(id));

function idOf(by: Aggregate["by"]): unknown {
  if (by === null) return null;
  if (typeof by === "string") return `$${by}`;
  const id: Row = {};
  for (const path of by) {
    const names = path.split(".");
    const last = names.pop()!;
    let at = id;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Row;
    }
    at[last] = `$${path}`;
  }
  return id;
}

/**
 * Asserts that the rows of a client are those of the server.
 * @param held As Extended JSON, in which a whole double looks like an int, or as BSON.
 */
export function assertRows(
  held: Iterable<unknown>,
  expected: ReadonlyMap<string, Row>,
  { values }: Aggregate,
  where: string,
): void {
  const rows = new Map<string, Row>();
  for (const row of held) {
    const typed = (
      row instanceof Uint8Array
        ? BSON.deserialize(row, { promoteValues: false })
        : BSON.EJSON.deserialize(withDoubles(row) as object, { relaxed: false })
    ) as Row;
    const isExact = row instanceof Uint8Array;
    assert(!rows.has(keyOf(typed["_id"])), `${where}: a group twice`);
    rows.set(keyOf(typed["_id"]), { ...typed, isExact });
  }
  assert.deepEqual([...rows.keys()].sort(), [...expected.keys()].sort(), `${where}: the groups`);
  for (const [key, { isExact, ...row }] of rows) {
    const other = expected.get(key)!;
    for (const { name, operator } of values) {
      const [mine, theirs] = [row[name], other[name]];
      const what = `${where}: ${operator} of ${key}: ${text(mine)}, and not ${text(theirs)}`;
      if (operator === "sum" || operator === "avg")
        assertNumber(operator, mine, theirs as unknown[], isExact === true, what);
      else assert.equal(valueKey(fromJs(mine)), valueKey(fromJs(theirs)), what);
      if (operator === "count" && isExact) assert.equal(typeOf(mine), typeOf(theirs), what);
    }
  }
}

/** A plain number of the messages may be an int, a double, or a long. */
function withDoubles(value: unknown): unknown {
  if (typeof value === "number") return { $numberDouble: Object.is(value, -0) ? "-0.0" : String(value) };
  if (Array.isArray(value)) return value.map(withDoubles);
  if (typeof value !== "object" || value === null) return value;
  const isValue = Object.keys(value).some((key) => key.startsWith("$"));
  return isValue
    ? value
    : Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withDoubles(part)]));
}

const text = (value: unknown) => BSON.EJSON.stringify({ v: value }, { relaxed: false });
const typeOf = (value: unknown) => (value as { _bsontype?: string } | null)?._bsontype ?? typeof value;

/** A number as an exact fraction; `undefined` for one that is not finite. */
interface Exact {
  readonly num: bigint;
  readonly den: bigint;
}

function exact(value: unknown): Exact | number | undefined {
  if (value instanceof Int32) return { num: BigInt(value.value), den: 1n };
  // A `Timestamp` is a `Long` to JavaScript, and no number to the server.
  if (value instanceof Long && typeOf(value) === "Long") return { num: value.toBigInt(), den: 1n };
  if (value instanceof Double) {
    if (!Number.isFinite(value.value)) return value.value;
    let scaled = value.value;
    let den = 1n;
    while (!Number.isInteger(scaled)) {
      scaled *= 2;
      den *= 2n;
    }
    return { num: BigInt(scaled), den };
  }
  if (!(value instanceof Decimal128)) return undefined;
  const written = value.toString();
  if (/NaN/.test(written)) return Number.NaN;
  if (/Inf/.test(written)) return written.startsWith("-") ? -Infinity : Infinity;
  const [mantissa = "0", exponent = "0"] = written.split("E");
  const [whole = "0", fraction = ""] = mantissa.split(".");
  const tens = Number(exponent) - fraction.length;
  const digits = BigInt(whole + fraction);
  return tens >= 0
    ? { num: digits * 10n ** BigInt(tens), den: 1n }
    : { num: digits, den: 10n ** BigInt(-tens) };
}

function assertNumber(
  operator: "sum" | "avg",
  mine: unknown,
  all: unknown[],
  isExact: boolean,
  what: string,
): void {
  const numbers = all.filter((value) => exact(value) !== undefined);
  if (numbers.length === 0) {
    if (operator === "avg") assert.equal(mine, null, what);
    else
      assert.deepEqual(
        [typeOf(mine), text(mine)],
        [isExact ? "Int32" : "Double", text(isExact ? new Int32(0) : new Double(0))],
        what,
      );
    return;
  }
  let sum: Exact = { num: 0n, den: 1n };
  let special = 0;
  for (const value of numbers) {
    const part = exact(value)!;
    if (typeof part === "number") special += part;
    else sum = { num: sum.num * part.den + part.num * sum.den, den: sum.den * part.den };
    const common = gcd(sum.num, sum.den);
    sum = { num: sum.num / common, den: sum.den / common };
  }
  const has = (type: string) => numbers.some((value) => typeOf(value) === type);
  const value = operator === "avg" ? { num: sum.num, den: sum.den * BigInt(numbers.length) } : sum;
  const isFiniteSum = special === 0;
  const fitsLong = value.num <= 2n ** 63n - 1n && value.num >= -(2n ** 63n);
  const fitsInt = value.num <= 2n ** 31n - 1n && value.num >= -(2n ** 31n);
  const isDouble = operator === "avg" || has("Double") || !fitsLong;
  const type = has("Decimal128")
    ? "Decimal128"
    : isDouble
      ? "Double"
      : has("Long") || !fitsInt
        ? "Long"
        : "Int32";
  const isWhole = typeOf(mine) === "Double" && type !== "Decimal128";
  assert(typeOf(mine) === type || (isWhole && !isExact), `${what}: its type is ${type}`);
  const found = exact(mine)!;
  if (!isFiniteSum) assert(Object.is(found, special), what);
  else if (typeOf(mine) === "Double")
    assert(Object.is((mine as Double).value, nearest(value)), `${what}: ${nearest(value)}`);
  else if (type === "Decimal128") assertNearDecimal(found, value, what);
  else assert.deepEqual(found, value, what);
}

/** The engine's parser of numbers rounds exactly, so enough digits and one that represents all others suffice. */
function nearest({ num, den }: Exact): number {
  const digits = 1_200n;
  const scaled = (num < 0n ? -num : num) * 10n ** digits;
  const quotient = scaled / den;
  const rest = scaled === quotient * den ? "" : "1";
  return Number(`${num < 0n ? "-" : ""}${quotient}${rest}e-${digits + BigInt(rest.length)}`);
}

/** 34 digits, with an error of half a unit at most. */
function assertNearDecimal(found: Exact | number, value: Exact, what: string): void {
  if (typeof found === "number") {
    const isHuge =
      value.num / value.den >= 10n ** 6145n - 10n ** 6110n ||
      value.num / value.den <= -(10n ** 6145n - 10n ** 6110n);
    assert(isHuge, what);
    return;
  }
  const error = abs(found.num * value.den - value.num * found.den);
  const size = abs(value.num * found.den);
  const tiny = value.den * found.den;
  // Relative to the number, or to the smallest one that there is.
  assert(error * 10n ** 33n <= size || error * 10n ** 6176n <= tiny, what);
}

const abs = (value: bigint) => (value < 0n ? -value : value);
function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [abs(a), b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}
