/** Reads the arguments of `$exists $type $size $mod`, with the server's checks (6.0, `expression_parser.cpp`). */
import { BSON_TYPE, type BsonValue, byteAt, stringAt } from "./bson-value.ts";
import { typeClass } from "./compare.ts";
import { integerPartAt, isInteger } from "./numbers.ts";
import { LiteralRefused } from "./read-literal.ts";

/** The server's names of types, where they differ from ours. */
const TYPE_NAMES = new Map<string, readonly number[]>(
  Object.entries(BSON_TYPE).map(([name, type]) => [name, [type]]),
);
TYPE_NAMES.delete("missing");
TYPE_NAMES.delete("code");
TYPE_NAMES.delete("codeWithScope");
TYPE_NAMES.set("javascript", [BSON_TYPE.code]);
TYPE_NAMES.set("javascriptWithScope", [BSON_TYPE.codeWithScope]);
TYPE_NAMES.set("number", [BSON_TYPE.double, BSON_TYPE.int, BSON_TYPE.long, BSON_TYPE.decimal]);

const MAX_INT32 = 2n ** 31n - 1n;

/** Reads the operand of `$exists`. The server accepts any value and asks whether it is true. */
export function readExists(value: BsonValue): boolean {
  if (isNumber(value)) return !isInteger(value.type, value.bytes, value.start, 0n);
  if (value.type === BSON_TYPE.bool) return byteAt(value.bytes, value.start) !== 0;
  return value.type !== BSON_TYPE.null;
}

/**
 * Reads the operand of `$size`.
 * @throws {LiteralRefused}
 */
export function readSize(value: BsonValue): number {
  if (!isNumber(value)) throw new LiteralRefused("needs a number");
  const size = wholeNumber(value);
  if (size === undefined || size < 0n || size > MAX_INT32) {
    throw new LiteralRefused("needs an integer from 0 to 2^31 - 1");
  }
  return Number(size);
}

/**
 * Reads the operand of `$type`, as BSON type bytes.
 * @throws {LiteralRefused}
 */
export function readTypes(values: readonly BsonValue[]): readonly number[] {
  if (values.length === 0) throw new LiteralRefused("needs at least one type");
  // Each type once. There are two dozen types, however many a list names.
  return [...new Set(values.flatMap(readType))];
}

function readType(value: BsonValue): readonly number[] {
  if (value.type === BSON_TYPE.string) {
    const types = TYPE_NAMES.get(stringAt(value.bytes, value.start));
    if (types !== undefined) return types;
  } else if (isNumber(value)) {
    const code = wholeNumber(value);
    if (code === -1n) return [BSON_TYPE.minKey];
    if (code !== undefined && ((code >= 1n && code <= 19n) || code === 127n)) return [Number(code)];
  }
  throw new LiteralRefused("needs the number or the name of a BSON type");
}

/**
 * Reads the operand of `$mod`.
 * @throws {LiteralRefused}
 */
export function readMod(values: readonly BsonValue[]): { divisor: bigint; remainder: bigint } {
  const [first, second] = values;
  if (values.length !== 2 || first === undefined || second === undefined) {
    throw new LiteralRefused("needs an array of divisor and remainder");
  }
  const [divisor, remainder] = [first, second].map((value) => {
    // The server truncates fractions, so they are truncated here as well.
    const integer = isNumber(value) ? integerPartAt(value.type, value.bytes, value.start) : undefined;
    if (integer === undefined) throw new LiteralRefused("needs 64-bit integers");
    return integer;
  });
  if (!divisor) throw new LiteralRefused("cannot divide by 0");
  return { divisor, remainder: remainder ?? 0n };
}

function isNumber(value: BsonValue): boolean {
  return typeClass(value.type) === typeClass(BSON_TYPE.int);
}

/** The integer that equals a number, if there is one. */
function wholeNumber(value: BsonValue): bigint | undefined {
  const { type, bytes, start } = value;
  const integer = integerPartAt(type, bytes, start);
  return integer !== undefined && isInteger(type, bytes, start, integer) ? integer : undefined;
}
