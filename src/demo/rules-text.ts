/** The rules of the board begin after these lines, indented by one more level. */
const RULES = /(?:^|\n) {2}orders:\n {4}rules:\n/;
const INDENT = " ".repeat(6);

/** The text of a rule set in parts. */
interface RulesParts {
  readonly head: string;
  /** The rules of the board, or the whole text if it is written in another way. */
  readonly rules: string;
  readonly tail: string;
  readonly indent: string;
  /** Lines before the rules. */
  readonly linesBefore: number;
}

/** Takes the rules of the board out of the text of a rule set. An admin may have written others in the console. */
export function splitRules(text: string): RulesParts {
  const found = RULES.exec(text);
  if (found === null) return { head: "", rules: text.trimEnd(), tail: "", indent: "", linesBefore: 0 };
  const head = text.slice(0, found.index + found[0].length);
  const lines = text.slice(head.length).split("\n");
  const end = lines.findIndex((line) => line.trim() !== "" && !line.startsWith(INDENT));
  const own = end === -1 ? lines : lines.slice(0, end);
  const tail = end === -1 ? "" : lines.slice(end).join("\n");
  const rules = own
    .map((line) => line.slice(INDENT.length))
    .join("\n")
    .trimEnd();
  return { head, rules, tail, indent: INDENT, linesBefore: head.split("\n").length - 1 };
}

/** The text of a rule set with other rules of the board. */
export function joinRules({ head, tail, indent }: RulesParts, rules: string): string {
  const lines = rules.trimEnd().split(/\r?\n/);
  return `${head}${lines.map((line) => (line === "" ? "" : indent + line)).join("\n")}\n${tail}`;
}
