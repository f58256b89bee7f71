import type { RuleSet } from "../rules/compile-rules.ts";
import type { EditProblems } from "./plan-edit.ts";

/** Compiles the text of a draft, or finds everything that is wrong with it. */
export type CompileDraft = (text: string) => Promise<RuleSet | EditProblems>;

/** Keeps the draft that was tried last, because an admin who watches its effect asks with the same text every few seconds. */
export class TryDrafts {
  readonly #compile: CompileDraft;
  #last: { readonly key: string; readonly compiled: Promise<RuleSet | EditProblems> } | null = null;
  #isBusy = false;

  constructor(compile: CompileDraft) {
    this.#compile = compile;
  }

  /**
   * @param inForce The rules in force; the other parts of the configuration may change with them.
   * @returns `null` while another draft is being compiled, which takes a thread and memory.
   */
  compiled(text: string, inForce: RuleSet): Promise<RuleSet | EditProblems> | null {
    const key = `${idOf(inForce)} ${text}`;
    if (this.#last?.key === key) return this.#last.compiled;
    if (this.#isBusy) return null;
    this.#isBusy = true;
    const compiled = this.#compile(text).finally(() => {
      this.#isBusy = false;
    });
    this.#last = { key, compiled };
    compiled.catch(() => {
      this.#last = null; // the caller receives the error
    });
    return compiled;
  }
}

const ids = new WeakMap<RuleSet, number>();
let nextId = 1;

/** Different for each set that was in force. */
function idOf(rules: RuleSet): number {
  const id = ids.get(rules) ?? nextId++;
  ids.set(rules, id);
  return id;
}
