import { parseDocument } from "yaml";

/** A configuration, or a rule set, that is being edited in this page. */
export interface Draft {
  /** The name of its file. */
  readonly name: string;
  /** The text before any edit. */
  readonly base: string;
  readonly text: string;
  /** A file of tests; empty if there is none. */
  readonly tests: string;
  /** The tests before any edit. */
  readonly baseTests: string;
  /** The rule set from which the edit starts; `null` if it is not known, or the rules are in the file. */
  readonly parent: number | null;
  /** The reason of the edit, as far as it is written. */
  readonly message: string;
}

/** Whether the draft differs from the text that was opened. */
export const isEdited = ({ base, text, tests, baseTests }: Draft): boolean =>
  text !== base || tests !== baseTests;

/** A rule set as it is saved, which an edit starts from. */
export interface SavedSet {
  readonly number: number;
  readonly text: string;
  readonly tests: string;
}

/** A draft that begins with a rule set. @param parent The set in force, from which the edit starts. */
export const draftOfSet = ({ number, text, tests }: SavedSet, parent: number = number): Draft => ({
  name: `rule-set-${number}.yaml`,
  base: text,
  text,
  tests,
  baseTests: tests,
  parent,
  message: "",
});

/** A draft that begins with a file, which may name the rule set from which it starts, as `tidewire rules pull` writes it. */
export function draftOfFile(name: string, text: string): Draft {
  const parent: unknown = parseDocument(text, { logLevel: "silent" }).get("parent");
  const isNumber = typeof parent === "number" && Number.isSafeInteger(parent) && parent > 0;
  return { name, base: text, text, tests: "", baseTests: "", parent: isNumber ? parent : null, message: "" };
}

/** The draft after it was applied as a set. Its tests and its text are those of the set. */
export function draftAfterApply(draft: Draft, number: number): Draft {
  const text = draft.text.replace(/^parent: *\d+ *$/m, `parent: ${number}`);
  const name = draft.name.replace(/^rule-set-\d+\.yaml$/, `rule-set-${number}.yaml`);
  return { ...draft, name, base: text, text, baseTests: draft.tests, parent: number, message: "" };
}

/** The draft as a file for `tidewire rules push`, which needs the set from which the edit starts. */
export function fileOfDraft({ text, parent }: Draft): string {
  return parent === null || /^parent:/m.test(text) ? text : `parent: ${parent}\n${text}`;
}
