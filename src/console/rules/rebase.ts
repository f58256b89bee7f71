import { diffArrays } from "diff";
import type { Draft, SavedSet } from "./draft.ts";

/**
 * Puts the edits of a draft on top of the set that another admin has applied meanwhile.
 * @returns `null` if both have edited the same lines, or lines next to each other.
 */
export function rebased(draft: Draft, { number, text, tests }: SavedSet): Draft | null {
  const merged = merge(draft.base, draft.text, text);
  const mergedTests = merge(draft.baseTests, draft.tests, tests);
  if (merged === null || mergedTests === null) return null;
  return {
    ...draft,
    name: `rule-set-${number}.yaml`,
    base: text,
    text: merged,
    baseTests: tests,
    tests: mergedTests,
    parent: number,
  };
}

/** Lines of the base that were replaced. If `from` equals `to`, lines were only inserted. */
interface LineEdit {
  readonly from: number;
  readonly to: number;
  readonly lines: readonly string[];
}

/**
 * Joins two edits of one text by the positions of their lines. A patch would search for similar lines, and rules are
 * similar: it could change another rule than the author did.
 */
function merge(base: string, mine: string, theirs: string): string | null {
  if (base === theirs || mine === theirs) return mine;
  if (base === mine) return theirs;
  const lines = base.split("\n");
  const own = editsOf(lines, mine.split("\n"));
  const other = editsOf(lines, theirs.split("\n"));
  const touch = (a: LineEdit, b: LineEdit) => a.from <= b.to && b.from <= a.to;
  if (own.some((edit) => other.some((one) => touch(edit, one)))) return null;
  // From the last one on, so that the positions of the others stay right.
  for (const { from, to, lines: inserted } of [...own, ...other].sort((a, b) => b.from - a.from))
    lines.splice(from, to - from, ...inserted);
  return lines.join("\n");
}

function editsOf(base: readonly string[], edited: readonly string[]): LineEdit[] {
  const edits: LineEdit[] = [];
  let at = 0;
  let open: LineEdit | null = null;
  for (const { added, removed, value } of diffArrays([...base], [...edited])) {
    if (!added && !removed) {
      if (open !== null) edits.push(open);
      open = null;
      at += value.length;
      continue;
    }
    open ??= { from: at, to: at, lines: [] };
    if (added) open = { ...open, lines: [...open.lines, ...value] };
    else {
      at += value.length;
      open = { ...open, to: at };
    }
  }
  return open === null ? edits : [...edits, open];
}
