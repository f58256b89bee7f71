import type { RegexNode } from "./regex-parser.ts";

/**
 * The longest text that every match contains, as far as the top level of a pattern shows. It may be empty. A native
 * search for it rejects most texts before the automaton runs.
 */
export function requiredText(node: RegexNode): string {
  const parts = node.kind === "sequence" ? node.parts : [node];
  let longest = "";
  let run = "";
  for (const part of parts) {
    const character = onlyCharacter(part);
    run = character === undefined ? "" : run + character;
    if (run.length > longest.length) longest = run;
  }
  return longest;
}

function onlyCharacter(node: RegexNode): string | undefined {
  if (node.kind !== "characters" || node.set.length !== 1) return undefined;
  const [low, high] = node.set[0] ?? [0, 1];
  // A character class may name a surrogate, which no text contains.
  return low === high && (low < 0xd800 || low > 0xdfff) ? String.fromCodePoint(low) : undefined;
}
