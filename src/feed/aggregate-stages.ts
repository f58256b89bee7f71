/**
 * The server's part of a live aggregate: one `$group`, whose answer holds no documents. The server adds doubles and
 * decimals with rounding, so they are cut into parts that are whole numbers, of which it adds every kind exactly.
 */
import { Decimal128, type Document, Double, Long } from "mongodb";
import type { Aggregate } from "../match/aggregate.ts";
import { BSON_TYPE, type BsonValue, bigIntAt, int32At, toBson } from "../match/bson-value.ts";
import type { NumberSum } from "../match/number-sum.ts";
import { decimalAt } from "../match/numbers.ts";
import type { Scaled } from "../match/rounding.ts";
import type { AggregateColumns, ExtremeColumn } from "./aggregate-columns.ts";
import { isOnlyField, nested } from "./group-id.ts";

/**
 * The kind of a number is the first part of its encoding. Doubles and decimals of a similar magnitude are added
 * together. Their kind is `DOUBLE` or `DECIMAL` plus the number of the magnitude, which may be negative.
 */
const KIND = { none: 0, int: 1, long: 2, nan: 3, infinite: 4, negativeInfinite: 5 } as const;
const DOUBLE = 100;
const DECIMAL = 1_000;
/** Divides the kinds of doubles from those of decimals. */
const DECIMAL_FROM = 500;

const LONG_PART = 2 ** 32;
/** Doubles of one magnitude are within this many powers of two. Magnitude 0 is around 1. */
const DOUBLE_WIDTH = 64;
/** The size of one part of a double, in bits. */
const DOUBLE_PART = 29;
/** Decimals of one magnitude are within this many powers of ten. */
const DECIMAL_WIDTH = 32;
/** The size of one part of a decimal, in digits. */
const DECIMAL_PART = 17;
const PARTS = ["a", "b", "c", "d"] as const;

/** A path as an expression. */
const at = (path: string) => `$${path}`;
const decimal = (text: string) => Decimal128.fromString(text);
const letIn = (name: string, value: unknown, body: unknown) => ({
  $let: { vars: { [name]: value }, in: body },
});

/** The stages that read all groups, but no more than `most`. */
export function groupStages(aggregate: Aggregate, columns: AggregateColumns, most: number): Document[] {
  const extremes = columns.extremes.map((column, i) => [`m${i}`, column] as const);
  const id = idExpression(aggregate.by);
  if (columns.sums.length === 0) {
    const values = extremes.map(([name, column]) => [name, accumulate(column, marked(column.path))] as const);
    return [
      { $group: new Map<string, unknown>([["_id", id], ["n", { $sum: 1 }], ...values]) },
      { $limit: most },
    ];
  }
  const sums = columns.sums.map((path, i) => [`s${i}`, numberParts(path)] as const);
  const added = sums.flatMap(([name]) =>
    PARTS.map((part) => [`${name}${part}`, { $sum: `$${name}.${part}` }] as const),
  );
  return [
    {
      $project: new Map<string, unknown>([
        ["_id", 0],
        // In a variable, an object is a value, and not a part of what is projected.
        ["g", letIn("g", id, "$$g")],
        ...sums,
        ...extremes.map(([name, { path }]) => [name, marked(path)] as const),
      ]),
    },
    {
      $group: new Map<string, unknown>([
        ["_id", { g: "$g", k: sums.map(([name]) => `$${name}.k`) }],
        ["n", { $sum: 1 }],
        ...added,
        ...extremes.map(([name, column]) => [name, accumulate(column, `$${name}`)] as const),
      ]),
    },
    {
      $group: {
        _id: "$_id.g",
        parts: {
          $push: {
            k: "$_id.k",
            n: "$n",
            s: added.map(([name]) => `$${name}`),
            m: extremes.map(([name]) => `$${name}`),
          },
        },
      },
    },
    { $limit: most },
  ];
}

/** The stages that read the first values of one group, in order. */
export function spareStages(
  by: Aggregate["by"],
  id: BsonValue,
  column: ExtremeColumn,
  most: number,
): Document[] {
  return [
    { $match: { $expr: idEquals(by, id) } },
    { $project: { _id: 0, m: marked(column.path) } },
    { $match: { m: { $ne: null } } },
    // The object is compared as a whole. For an array, `$sort` would compare only one element.
    { $sort: { m: column.sign } },
    { $limit: most },
  ];
}

function idExpression(by: Aggregate["by"]): unknown {
  if (by === null) return null;
  if (typeof by === "string") return at(by);
  return nested<unknown>(by, isOnlyField(by) ? orNull : at);
}

/** The value of the only field of an `_id` is never missing, as in `$group` itself. */
const orNull = (path: string): Document => ({
  $cond: [{ $eq: [{ $type: at(path) }, "missing"] }, null, at(path)],
});

function idEquals(by: Aggregate["by"], id: BsonValue): Document {
  if (by === null) return { $literal: true };
  if (typeof by !== "string") return { $eq: [idExpression(by), { $literal: toBson(id) }] };
  const type = { $type: at(by) };
  if (id.type === BSON_TYPE.null) return { $in: [type, ["missing", "null"]] };
  if (id.type === BSON_TYPE.undefined) return { $eq: [type, "undefined"] };
  return { $eq: [at(by), { $literal: toBson(id) }] };
}

/** A value together with the name of its type, which orders equal numbers; null if the value does not count. */
const marked = (path: string): Document => ({
  $cond: [
    { $in: [{ $type: at(path) }, ["missing", "null", "undefined"]] },
    null,
    letIn("v", at(path), { v: "$$v", t: { $type: "$$v" } }),
  ],
});

const accumulate = ({ sign }: ExtremeColumn, value: unknown): Document =>
  sign === 1 ? { $min: value } : { $max: value };

/** The kind and the parts of the number under a path. */
function numberParts(path: string): Document {
  const isType = (name: string) => ({ $eq: [{ $type: "$$x" }, name] });
  return letIn(
    "x",
    at(path),
    choose(
      [
        [isType("int"), { k: KIND.int, a: "$$x" }],
        [isType("double"), doubleParts()],
        [isType("long"), longParts()],
        [isType("decimal"), decimalParts()],
      ],
      { k: KIND.none },
    ),
  );
}

/** Gives the value of the first condition that is true. */
const choose = (
  cases: readonly (readonly [condition: unknown, value: unknown])[],
  otherwise: unknown,
): Document =>
  cases.reduceRight<unknown>(
    (rest, [condition, value]) => ({ $cond: [condition, value, rest] }),
    otherwise,
  ) as Document; // of one case or more

/** Two halves: longs added as they are would pass the range of a long. */
const longParts = () =>
  letIn(
    "low",
    { $mod: ["$$x", Long.fromNumber(LONG_PART)] },
    {
      k: KIND.long,
      a: { $toLong: { $divide: [{ $subtract: ["$$x", "$$low"] }, Long.fromNumber(LONG_PART)] } },
      b: "$$low",
    },
  );

const specials = (nan: unknown, infinite: unknown, negative: unknown, offset: number) =>
  [
    [{ $eq: ["$$x", nan] }, { k: offset + KIND.nan }],
    [{ $eq: ["$$x", infinite] }, { k: offset + KIND.infinite }],
    [{ $eq: ["$$x", negative] }, { k: offset + KIND.negativeInfinite }],
  ] as const;

/** The offset of the special numbers among the kinds of decimals. */
const DECIMAL_SPECIAL = 10;

function doubleParts(): Document {
  const half = DOUBLE_WIDTH / 2;
  const cut = partsOf(new Double(2 ** DOUBLE_PART), DOUBLE, (part) => ({ $toLong: part }));
  return byMagnitude({
    low: new Double(2 ** -half),
    high: new Double(2 ** half),
    specials: specials(new Double(Number.NaN), new Double(Infinity), new Double(-Infinity), 0),
    magnitude: { $divide: [{ $add: [{ $log: [{ $abs: "$$x" }, 2] }, half] }, DOUBLE_WIDTH] },
    scale: { $pow: [new Double(2), { $multiply: [-half, "$$k"] }] },
    cut,
  });
}

function decimalParts(): Document {
  const half = DECIMAL_WIDTH / 2;
  const cut = partsOf(decimal(`1E${DECIMAL_PART}`), DECIMAL, (part) => part);
  return byMagnitude({
    low: decimal(`1E-${half}`),
    high: decimal(`1E${half}`),
    specials: specials(decimal("NaN"), decimal("Infinity"), decimal("-Infinity"), DECIMAL_SPECIAL),
    magnitude: { $divide: [{ $add: [{ $log10: { $abs: "$$x" } }, half] }, DECIMAL_WIDTH] },
    scale: { $toDecimal: { $concat: ["1E", { $toString: { $multiply: [-half, "$$k"] } }] } },
    cut,
  });
}

/** How the numbers of one type are brought to magnitude 0 and cut. */
interface Cutting {
  /** Numbers from `low` to `high` are of magnitude 0. */
  readonly low: unknown;
  readonly high: unknown;
  readonly specials: readonly (readonly [condition: unknown, value: unknown])[];
  /** Rounded down, the magnitude of any other number. It costs a logarithm. */
  readonly magnitude: unknown;
  /** The square root of the factor that brings a number of magnitude `k` to magnitude 0. */
  readonly scale: unknown;
  /** Cuts the number `s`, of the magnitude `k`. */
  readonly cut: (s: unknown, k: unknown) => unknown;
}

/** Checks magnitude 0 first, because nearly all numbers are of that magnitude. */
function byMagnitude({ low, high, specials: others, magnitude, scale, cut }: Cutting): Document {
  const isCentral = { $and: [{ $gte: [{ $abs: "$$x" }, low] }, { $lt: [{ $abs: "$$x" }, high] }] };
  // There are two multiplications, because the whole factor may be out of range.
  const scaled = letIn("f", scale, { $multiply: [{ $multiply: ["$$x", "$$f"] }, "$$f"] });
  const elsewhere = letIn("k", { $toInt: { $floor: magnitude } }, letIn("s", scaled, cut("$$s", "$$k")));
  const isZero = { $eq: ["$$x", 0] };
  return choose([[isCentral, cut("$$x", 0)], [isZero, cut("$$x", 0)], ...others], elsewhere);
}

/** Cuts a number of magnitude 0 into integer parts. Each is worth `unit` times the next one. */
function partsOf(unit: unknown, kind: number, whole: (part: unknown) => unknown): Cutting["cut"] {
  const rest = (from: unknown, part: string) => ({ $multiply: [{ $subtract: [from, part] }, unit] });
  const trunc = (of: unknown) => ({ $trunc: of });
  return (s, k) => {
    const parts = {
      k: k === 0 ? kind : { $add: [kind, k] },
      a: whole("$$a"),
      b: whole("$$b"),
      c: whole("$$c"),
      d: whole(trunc(rest("$$q", "$$c"))),
    };
    const third = letIn("q", rest("$$p", "$$b"), letIn("c", trunc("$$q"), parts));
    const second = letIn("p", rest(s, "$$a"), letIn("b", trunc("$$p"), third));
    return letIn("a", trunc(s), second);
  };
}

/** Adds the numbers of one kind to a sum. @param parts The sums of the parts that the server has computed. */
export function addParts(sum: NumberSum, kind: number, count: number, parts: readonly BsonValue[]): void {
  if (kind === KIND.none) return;
  const typed = typeOfKind(kind);
  sum.countMore(typed, count);
  const special = specialOf(kind);
  if (special !== undefined) {
    sum.addSpecial(special, count);
    return;
  }
  for (const [index, part] of parts.entries()) {
    const value = integerOf(part);
    if (typed === BSON_TYPE.int) sum.addBinary(value);
    else if (typed === BSON_TYPE.long)
      sum.addBinary({ coefficient: value.coefficient, exponent: index === 0 ? 32 : 0 });
    else if (typed === BSON_TYPE.double)
      sum.addBinary({ ...value, exponent: (kind - DOUBLE) * DOUBLE_WIDTH - index * DOUBLE_PART });
    else
      sum.addDecimal({
        coefficient: value.coefficient,
        exponent: value.exponent + (kind - DECIMAL) * DECIMAL_WIDTH - index * DECIMAL_PART,
      });
  }
}

function typeOfKind(kind: number): number {
  if (kind === KIND.int) return BSON_TYPE.int;
  if (kind === KIND.long) return BSON_TYPE.long;
  const isSpecial = kind >= DECIMAL_SPECIAL + KIND.nan && kind <= DECIMAL_SPECIAL + KIND.negativeInfinite;
  const isDecimal = isSpecial || kind > DECIMAL_FROM;
  return isDecimal ? BSON_TYPE.decimal : BSON_TYPE.double;
}

function specialOf(kind: number): number | undefined {
  const special = kind > DECIMAL_SPECIAL ? kind - DECIMAL_SPECIAL : kind;
  if (special === KIND.nan) return Number.NaN;
  if (special === KIND.infinite) return Infinity;
  return special === KIND.negativeInfinite ? -Infinity : undefined;
}

function integerOf({ type, bytes, start }: BsonValue): Scaled {
  if (type === BSON_TYPE.int) return { coefficient: BigInt(int32At(bytes, start)), exponent: 0 };
  if (type === BSON_TYPE.long) return { coefficient: bigIntAt(bytes, start), exponent: 0 };
  const value = type === BSON_TYPE.decimal ? decimalAt(bytes, start) : Number.NaN;
  if (typeof value === "number") throw new TypeError("a sum of whole numbers is no whole number");
  return value;
}
