/**
 * Compares and identifies numbers of all four BSON types by their exact mathematical value, as the server does. No type
 * is converted to another one first, because every such conversion rounds some values.
 */
import { BSON_TYPE, bigIntAt, byteAt, doubleAt, int32At, longAsNumberAt } from "./bson-value.ts";

/** A finite decimal is `coefficient * 10 ** exponent`. Its sign is that of the coefficient (zero has none). */
export interface Decimal {
  readonly coefficient: bigint;
  readonly exponent: number;
}

const MAX_COEFFICIENT = 10n ** 34n - 1n;
const EXPONENT_BIAS = 6176;

/** Reads a Decimal128 in its binary (BID) encoding, IEEE 754-2008. NaN and infinities are returned as numbers. */
export function decimalAt(bytes: Uint8Array, at: number): Decimal | number {
  const top = byteAt(bytes, at + 15);
  const negative = (top & 0x80) !== 0;
  const combination = (top >> 2) & 0x1f;
  if (combination === 0x1f) return Number.NaN;
  if (combination === 0x1e) return negative ? -Infinity : Infinity;
  // The other form of the combination field can only contain coefficients that are too large. These count as zero.
  if (combination >= 0x18) return { coefficient: 0n, exponent: 0 };
  const high = int32At(bytes, at + 12) >>> 0;
  const exponent = ((high >>> 17) & 0x3fff) - EXPONENT_BIAS;
  const upper = (BigInt(high & 0x1ffff) << 32n) | BigInt(int32At(bytes, at + 8) >>> 0);
  const coefficient = (upper << 64n) | BigInt.asUintN(64, bigIntAt(bytes, at));
  if (coefficient > MAX_COEFFICIENT) return { coefficient: 0n, exponent: 0 };
  return { coefficient: negative ? -coefficient : coefficient, exponent };
}

/** Whether the long at this offset is a safe integer of JavaScript. */
export function isSafeLongAt(bytes: Uint8Array, at: number): boolean {
  const high = int32At(bytes, at + 4);
  return high >= -0x20_0000 && high < 0x20_0000 && Number.isSafeInteger(longAsNumberAt(bytes, at));
}

function order(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** NaN is equal to itself and below every other number. */
function compareDoubles(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  return Number.isNaN(a) ? (Number.isNaN(b) ? 0 : -1) : 1;
}

/** An int, double or long. A long is a bigint only if a number would round it. */
function binaryAt(type: number, bytes: Uint8Array, at: number): number | bigint {
  if (type === BSON_TYPE.int) return int32At(bytes, at);
  if (type === BSON_TYPE.double) return doubleAt(bytes, at);
  return isSafeLongAt(bytes, at) ? longAsNumberAt(bytes, at) : bigIntAt(bytes, at);
}

/** The server's order of two numbers of any of the four types. */
export function compareNumbers(
  typeA: number,
  a: Uint8Array,
  atA: number,
  typeB: number,
  b: Uint8Array,
  atB: number,
): number {
  if (typeA === BSON_TYPE.decimal || typeB === BSON_TYPE.decimal) {
    const left = typeA === BSON_TYPE.decimal ? decimalAt(a, atA) : binaryAt(typeA, a, atA);
    const right = typeB === BSON_TYPE.decimal ? decimalAt(b, atB) : binaryAt(typeB, b, atB);
    return compareExactly(left, right);
  }
  const left = binaryAt(typeA, a, atA);
  const right = binaryAt(typeB, b, atB);
  if (typeof left === "number" && typeof right === "number") return compareDoubles(left, right);
  // JavaScript compares a bigint with a number exactly. Only NaN needs the server's rule.
  if (Number.isNaN(left)) return -1;
  if (Number.isNaN(right)) return 1;
  return order(left, right);
}

type Exact = Decimal | number | bigint;

function compareExactly(a: Exact, b: Exact): number {
  if (typeof a === "number" && !Number.isFinite(a)) return compareDoubles(a, approximate(b));
  if (typeof b === "number" && !Number.isFinite(b)) return compareDoubles(approximate(a), b);
  const signs = order(signOf(a), signOf(b));
  if (signs !== 0 || signOf(a) === 0) return signs;
  // If the magnitudes differ, which is the usual case, they decide. So a hostile exponent (up to 10^6144) never leads
  // to a power of ten with thousands of digits.
  const apart = magnitude(a) - magnitude(b);
  if (Math.abs(apart) > 1) return apart * signOf(a) < 0 ? -1 : 1;
  return compareFractions(toFraction(a), toFraction(b));
}

/** Where this is used, only the fact that the value is finite matters. */
function approximate(value: Exact): number {
  return typeof value === "number" ? value : 0;
}

function signOf(value: Exact): number {
  const scalar = typeof value === "object" ? value.coefficient : value;
  return scalar < 0 ? -1 : scalar > 0 ? 1 : 0;
}

function digits(value: bigint): string {
  return (value < 0n ? -value : value).toString();
}

/** The exponent of the leading decimal digit. For doubles it may be off by one. */
function magnitude(value: Exact): number {
  if (typeof value === "number") return Math.floor(Math.log10(Math.abs(value)));
  if (typeof value === "bigint") return digits(value).length - 1;
  return digits(value.coefficient).length - 1 + value.exponent;
}

/** `integer * 10 ** tens * 2 ** twos`. */
interface Fraction {
  readonly integer: bigint;
  readonly tens: number;
  readonly twos: number;
}

function toFraction(value: Exact): Fraction {
  if (typeof value === "bigint") return { integer: value, tens: 0, twos: 0 };
  if (typeof value === "object") return { integer: value.coefficient, tens: value.exponent, twos: 0 };
  let twos = 0;
  let scaled = value;
  // Doubling a double is exact, and gives an integer after at most 1,074 times.
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    twos--;
  }
  return { integer: BigInt(scaled), tens: 0, twos };
}

function compareFractions(a: Fraction, b: Fraction): number {
  const tens = Math.min(a.tens, b.tens);
  const twos = Math.min(a.twos, b.twos);
  const scale = (f: Fraction) => f.integer * 10n ** BigInt(f.tens - tens) * 2n ** BigInt(f.twos - twos);
  return order(scale(a), scale(b));
}

/** Whether a number of any type is NaN. */
export function isNaNAt(type: number, bytes: Uint8Array, at: number): boolean {
  if (type === BSON_TYPE.double) return Number.isNaN(doubleAt(bytes, at));
  return type === BSON_TYPE.decimal && Number.isNaN(decimalAt(bytes, at));
}

/** A text that is equal for two numbers of any type if and only if the server considers them equal. */
export function numberKey(type: number, bytes: Uint8Array, at: number): string {
  const value = type === BSON_TYPE.decimal ? decimalAt(bytes, at) : binaryAt(type, bytes, at);
  if (typeof value === "object") return decimalKey(value);
  if (typeof value === "bigint") return decimalKey({ coefficient: value, exponent: 0 });
  if (value === 0) return "0";
  if (Number.isSafeInteger(value) || !Number.isFinite(value)) return String(value);
  return doubleKey(value);
}

/** An int, a double or a long as a double, if that is exact and cheap to decide. */
export function binaryDouble(type: number, bytes: Uint8Array, at: number): number | undefined {
  if (type === BSON_TYPE.decimal) return undefined;
  const value = binaryAt(type, bytes, at);
  return typeof value === "number" ? value : undefined;
}

/** The double that equals a number of any type, if there is one. */
export function equalDouble(type: number, bytes: Uint8Array, at: number): number | undefined {
  const value = type === BSON_TYPE.decimal ? decimalAt(bytes, at) : binaryAt(type, bytes, at);
  if (typeof value === "number") return value;
  const rounded =
    typeof value === "bigint" ? Number(value) : Number(`${value.coefficient}e${value.exponent}`);
  return compareExactly(value, rounded) === 0 ? rounded : undefined;
}

/** A Decimal128 has at most this many digits, so a double that needs more is equal only to itself. */
const MAX_DIGITS = 34;

function doubleKey(value: number): string {
  let places = 0;
  let scaled = value;
  // 2^-n has n digits after the point, and 5^49 has 35 digits: after 48 doublings nothing can fit.
  while (!Number.isInteger(scaled) && places <= 48) {
    scaled *= 2;
    places++;
  }
  if (!Number.isInteger(scaled)) return `d${value}`;
  const coefficient = BigInt(scaled) * 5n ** BigInt(places);
  const significant = digits(coefficient).replace(/0+$/, "");
  return significant.length > MAX_DIGITS ? `d${value}` : decimalKey({ coefficient, exponent: -places });
}

function decimalKey({ coefficient, exponent }: Decimal): string {
  if (coefficient === 0n) return "0";
  const sign = coefficient < 0n ? "-" : "";
  const all = digits(coefficient);
  const significant = all.replace(/0+$/, "");
  const tens = exponent + all.length - significant.length;
  // Integers of up to 16 digits are written as in JavaScript, because these often are doubles.
  if (tens >= 0 && significant.length + tens <= 16) return sign + significant + "0".repeat(tens);
  return `${sign}${significant}e${tens}`;
}

const INT64_MAX = 2n ** 63n - 1n;

/** A number without its fraction, as `$mod` uses it; `undefined` for NaN, infinities and numbers beyond 64 bits. */
export function integerPartAt(type: number, bytes: Uint8Array, at: number): bigint | undefined {
  const value = type === BSON_TYPE.decimal ? decimalAt(bytes, at) : binaryAt(type, bytes, at);
  const integer = integerPart(value);
  return integer === undefined || integer > INT64_MAX || integer < -INT64_MAX - 1n ? undefined : integer;
}

function integerPart(value: Exact): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined;
  const { coefficient, exponent } = value;
  if (coefficient === 0n || magnitude(value) < 0) return 0n;
  if (magnitude(value) > 19) return undefined;
  // The magnitude limits the exponent to between -34 and 19.
  return exponent >= 0 ? coefficient * 10n ** BigInt(exponent) : coefficient / 10n ** BigInt(-exponent);
}

/** Whether a number of any type is exactly this integer. */
export function isInteger(type: number, bytes: Uint8Array, at: number, integer: bigint): boolean {
  const value = type === BSON_TYPE.decimal ? decimalAt(bytes, at) : binaryAt(type, bytes, at);
  return compareExactly(value, integer) === 0;
}
