/** The position of the cursor in a YAML text of the block style. */
export interface YamlPosition {
  /** The keys, and the indexes in sequences, that lead to the line. */
  readonly path: readonly (string | number)[];
  /** Whether a key is being written, and not a value. */
  readonly isKey: boolean;
  /** The key whose value is being written. */
  readonly key: string | null;
}

interface Level {
  readonly indent: number;
  readonly step: string | number;
}

const LINE = /^( *)((?:- +)*)(?:("[^"]*"|'[^']*'|[^\s#:][^:#]*?)\s*:(?=\s|$))?(.*)$/;

/**
 * Finds the path by indentation. The text around the cursor is often no valid YAML while it is being written, so that
 * a parser would find nothing.
 * @param before The text up to the cursor.
 */
export function yamlPositionAt(before: string): YamlPosition {
  const lines = before.split("\n");
  const last = lines.pop() ?? "";
  const levels: Level[] = [];
  for (const line of lines) takeLine(levels, line);
  const [, spaces = "", dashes = "", key, rest = ""] = LINE.exec(last) ?? [];
  enterLine(levels, spaces.length, dashes);
  const path = levels.map(({ step }) => step);
  if (key === undefined) return { path, isKey: !rest.trimStart().startsWith("#"), key: null };
  return { path, isKey: false, key: unquoted(key) };
}

function takeLine(levels: Level[], line: string): void {
  const [, spaces = "", dashes = "", key, rest = ""] = LINE.exec(line) ?? [];
  if (key === undefined && dashes === "" && (rest.trim() === "" || rest.trimStart().startsWith("#"))) return;
  const indent = enterLine(levels, spaces.length, dashes);
  if (key !== undefined) levels.push({ indent, step: unquoted(key) });
}

/** Leaves the levels that end before this line, and enters those of its dashes. @returns The column of its key. */
function enterLine(levels: Level[], spaces: number, dashes: string): number {
  let indent = spaces;
  for (const dash of dashes.match(/- +/g) ?? []) {
    const index = leaveTo(levels, indent, true);
    levels.push({ indent, step: index });
    indent += dash.length;
  }
  leaveTo(levels, indent, false);
  return indent;
}

/** @returns The index of the next entry of a sequence at this column. */
function leaveTo(levels: Level[], indent: number, isEntry: boolean): number {
  let index = 0;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    // A sequence may begin at the column of its key.
    const isOwner = isEntry && typeof level.step === "string" && level.indent === indent;
    if (level.indent < indent || isOwner) break;
    if (level.indent === indent && typeof level.step === "number") index = level.step + 1;
    levels.pop();
  }
  return index;
}

const unquoted = (key: string): string => key.replace(/^(["'])(.*)\1$/, "$2");
