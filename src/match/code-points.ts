/** Sets of code points, as sorted ranges that neither touch nor overlap. Both ends are included. */
export type CodePoints = readonly (readonly [low: number, high: number])[];

const LAST = 0x10ffff;

/** The set of one character. */
export function onePoint(character: string): CodePoints {
  const point = character.codePointAt(0) ?? 0;
  return [[point, point]];
}

/** The set of all code points that are in one of the sets. */
export function union(...sets: readonly CodePoints[]): CodePoints {
  const sorted = sets.flat().sort(([a], [b]) => a - b);
  const ranges: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = ranges.at(-1);
    if (last === undefined || low > last[1] + 1) ranges.push([low, high]);
    else if (high > last[1]) last[1] = high;
  }
  return ranges;
}

/** The set of all code points that are not in the set. */
export function complement(set: CodePoints): CodePoints {
  const ranges: [number, number][] = [];
  let next = 0;
  for (const [low, high] of set) {
    if (low > next) ranges.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= LAST) ranges.push([next, LAST]);
  return ranges;
}

/** All code points. */
export const EVERY_POINT: CodePoints = [[0, LAST]];
/** `0-9`. */
export const DIGITS: CodePoints = [[0x30, 0x39]];
/** `0-9 A-Z _ a-z`: the word characters of PCRE without Unicode properties. */
export const WORD: CodePoints = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
/** The spaces of PCRE: tab, newline, vertical tab, form feed, carriage return, and the space itself. */
export const SPACES: CodePoints = [
  [0x09, 0x0d],
  [0x20, 0x20],
];
/** Only the newline. */
export const NEWLINE: CodePoints = [[0x0a, 0x0a]];
