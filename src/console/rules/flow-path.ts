/** The position of the cursor in a YAML value of the flow style, such as `{ a: [b, ` . */
export interface FlowPosition {
  readonly path: readonly (string | number)[];
  /** Whether a key is being written, and not a value. */
  readonly isKey: boolean;
}

interface Level {
  readonly isMap: boolean;
  /** The key whose value is being written; in a sequence always `null`. */
  key: string | null;
  index: number;
  /** The latest text that is neither a bracket nor a comma. */
  text: string;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|'[^']*'|[{}[\],]|:(?=\s|$)|[^\s{}[\],:"']+|["':]/g;

/**
 * Finds the path at the end of a value that is not complete.
 * @returns `null` if no bracket is open, or the cursor is within quotes.
 */
export function flowPositionAt(before: string): FlowPosition | null {
  const levels: Level[] = [];
  for (const [token] of before.matchAll(TOKEN)) {
    const top = levels.at(-1);
    if (token === "{" || token === "[") levels.push({ isMap: token === "{", key: null, index: 0, text: "" });
    else if (token === "}" || token === "]") levels.pop();
    else if (token === '"' || token === "'") return null;
    else if (top === undefined) continue;
    else if (token === ",") Object.assign(top, { key: null, index: top.index + 1, text: "" });
    else if (token === ":" && top.isMap && top.key === null) top.key = top.text;
    else top.text = token.replace(/^(["'])(.*)\1$/, "$2");
  }
  const last = levels.at(-1);
  if (last === undefined) return null;
  const path = levels.slice(0, -1).map(stepOf);
  if (last.isMap && last.key === null) return { path, isKey: true };
  return { path: [...path, stepOf(last)], isKey: false };
}

const stepOf = ({ isMap, key, index }: Level): string | number => (isMap ? (key ?? "") : index);
