/** Rounds exact numbers to the nearest number that a BSON type can hold, ties to even, as IEEE 754 says. */
import { BSON_TYPE, type BsonValue } from "./bson-value.ts";

/** A number as an integer times a power of two or ten. */
export interface Scaled {
  readonly coefficient: bigint;
  readonly exponent: number;
}

const DOUBLE_BITS = 53;
const DOUBLE_MIN_EXPONENT = -1074;
/**
 * A quotient is computed with at least this many bits. That is enough for correct rounding if one more bit records the
 * remainder.
 */
const QUOTIENT_BITS = 66;

/** The double nearest to `coefficient * 2 ** exponent / divisor`; `divisor` is positive. */
export function nearestDouble({ coefficient, exponent }: Scaled, divisor = 1n): number {
  if (coefficient === 0n) return 0;
  const negative = coefficient < 0n;
  const magnitude = negative ? -coefficient : coefficient;
  const shift = Math.max(0, QUOTIENT_BITS - (bitsOf(magnitude) - bitsOf(divisor)));
  const dividend = magnitude << BigInt(shift);
  const quotient = dividend / divisor;
  // The sticky bit records whether the remainder is not zero.
  const whole = quotient * 2n + (quotient * divisor === dividend ? 0n : 1n);
  const lowest = exponent - shift - 1;
  const drop = Math.max(0, bitsOf(whole) - DOUBLE_BITS, DOUBLE_MIN_EXPONENT - lowest);
  const rounded = halfEven(whole, 1n << BigInt(drop));
  const result = scaleDouble(Number(rounded), lowest + drop);
  return negative ? -result : result;
}

/** The product with a power of two, either exact or infinite. */
function scaleDouble(value: number, exponent: number): number {
  // A factor of 2 ** exponent may be infinite although the product is not.
  if (exponent > 971) return value * 2 ** 971 * 2 ** Math.min(1_023, exponent - 971);
  return value * 2 ** exponent;
}

const DECIMAL_DIGITS = 34;
const DECIMAL_MIN_EXPONENT = -6176;
const DECIMAL_MAX_EXPONENT = 6111;
const DECIMAL_BIAS = 6176;
const QUOTIENT_DIGITS = 36;

/** The Decimal128 nearest to `coefficient * 10 ** exponent / divisor`, without zeros at the end of its fraction. */
export function nearestDecimal({ coefficient, exponent }: Scaled, divisor = 1n): BsonValue {
  if (coefficient === 0n) return decimalValue(false, 0n, 0);
  const negative = coefficient < 0n;
  const magnitude = negative ? -coefficient : coefficient;
  const shift = divisor === 1n ? 0 : Math.max(0, QUOTIENT_DIGITS - (digitsOf(magnitude) - digitsOf(divisor)));
  const dividend = magnitude * 10n ** BigInt(shift);
  const quotient = dividend / divisor;
  const isExact = quotient * divisor === dividend;
  // The additional digit represents all digits below. With 1 it is below the middle, and rounding removes it.
  const whole = isExact ? quotient : quotient * 10n + 1n;
  const lowest = exponent - shift - (isExact ? 0 : 1);
  return roundedDecimal(negative, whole, lowest);
}

function roundedDecimal(negative: boolean, whole: bigint, lowest: number): BsonValue {
  const drop = Math.max(0, digitsOf(whole) - DECIMAL_DIGITS, DECIMAL_MIN_EXPONENT - lowest);
  // The number is far below the smallest one, so no large power of ten is computed.
  if (drop > digitsOf(whole) + 1) return decimalValue(false, 0n, 0);
  let digits = drop === 0 ? whole : halfEven(whole, 10n ** BigInt(drop));
  let exponent = lowest + drop;
  if (digits === 0n) return decimalValue(false, 0n, 0);
  // Each number has one form: without trailing zeros, and an integer is written out if it fits.
  while (digits % 10n === 0n) {
    digits /= 10n;
    exponent++;
  }
  const room = DECIMAL_DIGITS - digitsOf(digits);
  const fill = exponent > 0 && exponent <= room ? exponent : Math.max(0, exponent - DECIMAL_MAX_EXPONENT);
  if (fill > room) return infiniteDecimal(negative);
  return decimalValue(negative, digits * 10n ** BigInt(fill), exponent - fill);
}

/** The integer nearest to `value / divisor`; both are positive. */
function halfEven(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor;
  const twice = (value - quotient * divisor) * 2n;
  const isUp = twice > divisor || (twice === divisor && (quotient & 1n) === 1n);
  return isUp ? quotient + 1n : quotient;
}

function bitsOf(value: bigint): number {
  const hex = value.toString(16);
  return (hex.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(hex.charAt(0), 16)));
}

const digitsOf = (value: bigint): number => value.toString().length;

/** A Decimal128 in its binary (BID) encoding. `digits` has at most 34 digits, and the exponent is in range. */
export function decimalValue(negative: boolean, digits: bigint, exponent: number): BsonValue {
  const biased = BigInt(exponent + DECIMAL_BIAS);
  const high = (digits >> 64n) | (biased << 49n) | (negative ? 1n << 63n : 0n);
  return decimalOf(BigInt.asUintN(64, digits), high);
}

/** An infinite Decimal128. */
export const infiniteDecimal = (negative: boolean): BsonValue =>
  decimalOf(0n, negative ? 0xf800_0000_0000_0000n : 0x7800_0000_0000_0000n);

/** The Decimal128 value NaN. */
export const nanDecimal = (): BsonValue => decimalOf(0n, 0x7c00_0000_0000_0000n);

function decimalOf(low: bigint, high: bigint): BsonValue {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, low, true);
  view.setBigUint64(8, high, true);
  return { type: BSON_TYPE.decimal, bytes, start: 0, end: bytes.length };
}
