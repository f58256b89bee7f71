/**
 * Computes how large an automaton a pattern makes, and in how many of its states it can be at once, before it is built:
 * building it first would already use the memory.
 */
import type { RegexNode } from "./regex-parser.ts";

/** The number of characters and assertions of a pattern once its repeats are expanded. Nested repeats multiply. */
export function positionsOf(node: RegexNode): number {
  switch (node.kind) {
    case "characters":
    case "assertion":
      return 1;
    case "sequence":
      return node.parts.reduce((sum, part) => sum + positionsOf(part), 0);
    case "choice":
      return node.branches.reduce((sum, branch) => sum + positionsOf(branch), 0);
    case "repeat":
      // A repeated empty group is expanded as well.
      return (
        Math.max(1, positionsOf(node.part)) *
        (node.max === Number.POSITIVE_INFINITY ? node.min + 1 : node.max)
      );
  }
}

/** How many characters of a text may precede a position of the pattern. */
interface Distance {
  readonly min: number;
  readonly max: number;
}

/**
 * The maximum number of pattern characters that one position of a text may belong to. A pattern that begins with `^`
 * and has no unbounded repeat is at few of them at once, however long it is. A pattern that may begin anywhere is at
 * all of them.
 */
export function mostAtOnce(node: RegexNode): number {
  if (!isAnchored(node)) return positionsOf(node);
  const distances: Distance[] = [];
  collect(node, { min: 0, max: 0 }, distances);
  // Where most intervals overlap, one of them begins.
  const begins = distances.map(({ min }) => min).sort((a, b) => a - b);
  const ends = distances.map(({ max }) => max).sort((a, b) => a - b);
  let most = 0;
  for (let begun = 0, ended = 0; begun < begins.length; begun++) {
    while ((ends[ended] ?? 0) < (begins[begun] ?? 0)) ended++;
    most = Math.max(most, begun + 1 - ended);
  }
  return most;
}

function isAnchored(node: RegexNode): boolean {
  switch (node.kind) {
    case "assertion":
      return node.assertion === "start";
    case "sequence":
      return node.parts[0] !== undefined && isAnchored(node.parts[0]);
    case "choice":
      return node.branches.every(isAnchored);
    case "repeat":
      return node.min > 0 && isAnchored(node.part);
    default:
      return false;
  }
}

/**
 * Notes the distance of each character.
 * @returns The distance of the end.
 */
function collect(node: RegexNode, from: Distance, distances: Distance[]): Distance {
  switch (node.kind) {
    case "characters":
      distances.push(from);
      return { min: from.min + 1, max: from.max + 1 };
    case "assertion":
      return from;
    case "sequence":
      return node.parts.reduce((at, part) => collect(part, at, distances), from);
    case "choice": {
      const ends = node.branches.map((branch) => collect(branch, from, distances));
      return {
        min: Math.min(...ends.map(({ min }) => min)),
        max: Math.max(...ends.map(({ max }) => max)),
      };
    }
    case "repeat":
      return collectRepeat(node.part, node.min, node.max, from, distances);
  }
}

function collectRepeat(
  part: RegexNode,
  min: number,
  max: number,
  from: Distance,
  distances: Distance[],
): Distance {
  let at = from;
  for (let i = 0; i < min; i++) at = collect(part, at, distances);
  if (max === Number.POSITIVE_INFINITY) {
    collect(part, { min: at.min, max }, distances);
    return { min: at.min, max };
  }
  const least = at.min;
  for (let i = min; i < max; i++) at = collect(part, at, distances);
  return { min: least, max: at.max };
}
