import { isUtf8 } from "node:buffer";
import { BSON_TYPE, int32At, stringAt } from "./bson-value.ts";
import type { ValueTest } from "./path-walk.ts";
import { compileRegex } from "./regex.ts";

/** A regular expression matches strings, symbols, and a stored regular expression that is the same. */
export function compileRegexTest(pattern: string, options: string): ValueTest {
  const matchesString = compileStringTest(pattern, options);
  const itself = Buffer.from(`${pattern}\0${options}\0`, "utf8");
  return (type, bytes, at) => {
    if (type === BSON_TYPE.string || type === BSON_TYPE.symbol) {
      // The server's engine fails on text that is not UTF-8, which counts as no match.
      return matchesString(bytes, at) && isUtf8(bytes.subarray(at + 4, at + 3 + int32At(bytes, at)));
    }
    return type === BSON_TYPE.regex && hasBytes(bytes, at, itself);
  };
}

function compileStringTest(pattern: string, options: string): (bytes: Uint8Array, at: number) => boolean {
  // What the parser took, in whichever dialect, is in the wider one.
  const regex = compileRegex(pattern, options, "subset");
  if (regex.kind === "regexp") return (bytes, at) => regex.regexp.test(stringAt(bytes, at));
  const prefix = Buffer.from(regex.prefix, "utf8");
  return (bytes, at) => int32At(bytes, at) - 1 >= prefix.length && hasBytes(bytes, at + 4, prefix);
}

function hasBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}
