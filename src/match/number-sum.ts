/**
 * The exact sum of numbers of all four BSON types, to which numbers are added and from which they are taken away. The
 * type of the result follows the server's `$sum` and `$avg`.
 */
import { BSON_TYPE, type BsonValue, bigIntAt, doubleAt, int32At } from "./bson-value.ts";
import { decimalAt, isSafeLongAt } from "./numbers.ts";
import { infiniteDecimal, nanDecimal, nearestDecimal, nearestDouble, type Scaled } from "./rounding.ts";
import { double, int32, int64 } from "./write-bson.ts";

const ZERO: Scaled = { coefficient: 0n, exponent: 0 };
const INT32_MAX = 2n ** 31n - 1n;
const INT64_MAX = 2n ** 63n - 1n;

/** Numbers that make any sum infinite or NaN. They are counted, because they can be subtracted again. */
interface Special {
  nan: number;
  positive: number;
  negative: number;
}

/** Numbers that are not integers, or beyond the integers that a double represents exactly. Most sums have none. */
interface Fractions {
  /** The sum of longs and doubles, as a multiple of a power of two. */
  binary: Scaled;
  decimal: Scaled;
  special: Special | undefined;
}

/** A sum that can be read at any time. As long as all numbers are safe integers, it takes little memory. */
export class NumberSum {
  /** The sum of the safe integers. */
  #whole = 0;
  #ints = 0;
  #longs = 0;
  #doubles = 0;
  #decimals = 0;
  #rest: Fractions | undefined;

  /** The number of added numbers. */
  get count(): number {
    return this.#ints + this.#longs + this.#doubles + this.#decimals;
  }

  /** Adds a value, or subtracts it if `times` is -1. Values that are not numbers are ignored. */
  add(type: number, bytes: Uint8Array, at: number, times: 1 | -1): void {
    if (type === BSON_TYPE.int) {
      this.#ints += times;
      this.#addWhole(times * int32At(bytes, at));
    } else if (type === BSON_TYPE.double) {
      this.#doubles += times;
      this.#addDouble(doubleAt(bytes, at), times);
    } else if (type === BSON_TYPE.long) {
      this.#longs += times;
      const value = bigIntAt(bytes, at);
      if (isSafeLongAt(bytes, at)) this.#addWhole(times * Number(value));
      else this.addBinary({ coefficient: BigInt(times) * value, exponent: 0 });
    } else if (type === BSON_TYPE.decimal) {
      this.#decimals += times;
      const value = decimalAt(bytes, at);
      if (typeof value === "number") this.addSpecial(value, times);
      else this.addDecimal({ coefficient: BigInt(times) * value.coefficient, exponent: value.exponent });
    }
  }

  /** Counts numbers whose sum is added with the other methods. */
  countMore(type: number, count: number): void {
    if (type === BSON_TYPE.int) this.#ints += count;
    else if (type === BSON_TYPE.long) this.#longs += count;
    else if (type === BSON_TYPE.double) this.#doubles += count;
    else this.#decimals += count;
  }

  /** Adds a multiple of a power of two. */
  addBinary(value: Scaled): void {
    const rest = this.#fractions();
    rest.binary = sumOf(rest.binary, value, 2n);
  }

  /** Adds a multiple of a power of ten. */
  addDecimal(value: Scaled): void {
    const rest = this.#fractions();
    rest.decimal = sumOf(rest.decimal, value, 10n);
  }

  /** Adds infinities or NaN. */
  addSpecial(value: number, times: number): void {
    const rest = this.#fractions();
    rest.special ??= { nan: 0, positive: 0, negative: 0 };
    if (Number.isNaN(value)) rest.special.nan += times;
    else if (value > 0) rest.special.positive += times;
    else rest.special.negative += times;
  }

  /** The sum, with the type that the server's `$sum` has. */
  sum(): BsonValue {
    const special = this.#special();
    if (this.#decimals > 0)
      return special === undefined ? nearestDecimal(this.#decimalTotal()) : decimalSpecial(special);
    if (special !== undefined) return double(special);
    const total = this.#binaryTotal();
    if (this.#doubles > 0) return double(nearestDouble(total));
    const integer = total.coefficient << BigInt(total.exponent);
    if (integer > INT64_MAX || integer < -INT64_MAX - 1n) return double(nearestDouble(total));
    const isInt = this.#longs === 0 && integer <= INT32_MAX && integer >= -INT32_MAX - 1n;
    return isInt ? int32(Number(integer)) : int64(integer);
  }

  /** The average, with the type that the server's `$avg` has; `null` if there is no number. */
  average(): BsonValue | null {
    const { count } = this;
    if (count === 0) return null;
    const special = this.#special();
    if (this.#decimals > 0)
      return special === undefined
        ? nearestDecimal(this.#decimalTotal(), BigInt(count))
        : decimalSpecial(special);
    return double(special ?? nearestDouble(this.#binaryTotal(), BigInt(count)));
  }

  /** Memory besides the object itself, in bytes; rounded up. */
  get heldBytes(): number {
    if (this.#rest === undefined) return OBJECT_BYTES;
    const { binary, decimal } = this.#rest;
    return 4 * OBJECT_BYTES + sizeOf(binary.coefficient) + sizeOf(decimal.coefficient);
  }

  #fractions(): Fractions {
    this.#rest ??= { binary: ZERO, decimal: ZERO, special: undefined };
    return this.#rest;
  }

  #addWhole(value: number): void {
    const sum = this.#whole + value;
    if (Number.isSafeInteger(sum)) {
      // Adding zero turns a negative zero into zero.
      this.#whole = sum + 0;
      return;
    }
    this.addBinary({ coefficient: BigInt(this.#whole) + BigInt(value), exponent: 0 });
    this.#whole = 0;
  }

  #addDouble(value: number, times: 1 | -1): void {
    if (Number.isSafeInteger(value)) this.#addWhole(times * value);
    else if (!Number.isFinite(value)) this.addSpecial(value, times);
    else this.addBinary(partsOf(times * value));
  }

  /** NaN or an infinity, if the sum is one of these. */
  #special(): number | undefined {
    const special = this.#rest?.special;
    if (special === undefined) return undefined;
    if (special.nan > 0 || (special.positive > 0 && special.negative > 0)) return Number.NaN;
    if (special.positive > 0) return Number.POSITIVE_INFINITY;
    return special.negative > 0 ? Number.NEGATIVE_INFINITY : undefined;
  }

  #binaryTotal(): Scaled {
    const whole = { coefficient: BigInt(this.#whole), exponent: 0 };
    return this.#rest === undefined ? whole : sumOf(this.#rest.binary, whole, 2n);
  }

  #decimalTotal(): Scaled {
    const { coefficient, exponent } = this.#binaryTotal();
    const binary =
      exponent >= 0
        ? { coefficient: coefficient << BigInt(exponent), exponent: 0 }
        : { coefficient: coefficient * 5n ** BigInt(-exponent), exponent };
    return sumOf(binary, this.#rest?.decimal ?? ZERO, 10n);
  }
}

const OBJECT_BYTES = 64;
const sizeOf = (value: bigint): number => Math.ceil(value.toString(16).length / 2) + 16;

const decimalSpecial = (value: number): BsonValue =>
  Number.isNaN(value) ? nanDecimal() : infiniteDecimal(value < 0);

/** Adds scaled numbers. The exponent of the result is never above 0, so that integers need no special case. */
function sumOf(a: Scaled, b: Scaled, base: bigint): Scaled {
  const exponent = Math.min(a.exponent, b.exponent, 0);
  const scaled = ({ coefficient, exponent: own }: Scaled) =>
    base === 2n ? coefficient << BigInt(own - exponent) : coefficient * base ** BigInt(own - exponent);
  const coefficient = scaled(a) + scaled(b);
  // A sum that has become zero no longer needs a small unit.
  return coefficient === 0n ? ZERO : { coefficient, exponent };
}

const view = new DataView(new ArrayBuffer(8));
const EXPONENT_BIAS = 1_075;
const HIDDEN_BIT = 2n ** 52n;

/** A finite double as an integer times a power of two. The integer is odd, or zero. */
function partsOf(value: number): Scaled {
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const biased = Number((bits >> 52n) & 0x7ffn);
  let coefficient = (bits & (HIDDEN_BIT - 1n)) | (biased === 0 ? 0n : HIDDEN_BIT);
  let exponent = (biased === 0 ? 1 : biased) - EXPONENT_BIAS;
  if (coefficient === 0n) return ZERO;
  while ((coefficient & 0xffn) === 0n) {
    coefficient >>= 8n;
    exponent += 8;
  }
  while ((coefficient & 1n) === 0n) {
    coefficient >>= 1n;
    exponent++;
  }
  return { coefficient: value < 0 ? -coefficient : coefficient, exponent };
}
