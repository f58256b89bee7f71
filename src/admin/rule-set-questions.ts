/** The questions about the rules in force, drafts of them, and rule sets in the database. */
import type { RulesDiff } from "../rules/diff-rules.ts";
import type { Replay } from "../rules/replay-requests.ts";
import type { Untested } from "../rules/rule-coverage.ts";
import type { Pushed } from "../source/rule-set-store.ts";
import type { EditProblems } from "./plan-edit.ts";

/** The rules in force, as the text from which an edit starts. */
export interface RulesInForce {
  readonly generation: number;
  /** Where the rules of this node come from (`rules.from`). */
  readonly from: "file" | "database";
  readonly text: string;
  /** The tests of the set; empty if there are none, or the rules come from the file. */
  readonly tests: string;
  /** The set from which an edit of the text starts; `null` if the rules come from the file. */
  readonly parent: number | null;
}

/** A draft of rules as text, and a file of tests; `null` if the draft has tests of its own, or none. */
export interface TestedDraft {
  readonly text: string;
  readonly tests: string | null;
}

/** A place in a text. */
interface At {
  readonly line: number;
  readonly column: number;
  readonly path: string;
}

/** One expectation of a test that does not hold. */
export interface FailedExpectation extends At {
  readonly test: string;
  readonly collection: string;
  readonly expected: string;
  readonly found: string;
  readonly because: string | null;
}

/** The outcome of the tests of a draft. */
export interface DraftOutcome {
  readonly tests: number;
  readonly failed: number;
  readonly failures: readonly FailedExpectation[];
  /** The rules, and the branches of rules, that no test reaches. */
  readonly untested: readonly Untested[];
}

/** The outcome of the tests of a draft, or everything that is wrong with the texts. */
export type DraftTests = EditProblems | DraftOutcome;

/** A set without its content. */
export interface SetSummary {
  readonly number: number;
  readonly author: string;
  readonly message: string;
  readonly atMs: number;
  /** 0 for the first one. */
  readonly parent: number;
  readonly testResult: { readonly tests: number; readonly failed: number } | null;
}

/** A set with its content. */
export interface SetContent extends SetSummary {
  /** A text with the section `collections`. */
  readonly text: string;
  readonly tests: string;
  /** The effect that was computed when it was saved. */
  readonly plan: unknown;
}

/** Where the rules come from, and the edits since a set. */
export interface RulesState {
  readonly from: RulesInForce["from"];
  /** The number of the set in force in the database; 0 if there is none. */
  readonly inForce: number;
  /** The sets that came into force after a set, the latest first; at most 20. */
  readonly since: readonly SetSummary[];
}

/** The rules of one node, as it last reported them. */
export interface Acknowledgement {
  readonly node: string;
  readonly version: string;
  /** The number of the set in force on the node. */
  readonly generation: number;
  readonly atMs: number;
  /** The set that the node should have in force and cannot apply; `null` if there is none. */
  readonly behind: { readonly set: number; readonly problem: string } | null;
}

/** A draft that can be saved, its failing tests, or its mistakes. */
export type JudgedSet =
  | EditProblems
  | {
      readonly text: { readonly collections: string; readonly tests: string };
      readonly outcome: DraftOutcome;
    };

/** A set to save and put in force. */
export interface SetToPush extends Omit<SetSummary, "number"> {
  readonly text: { readonly collections: string; readonly tests: string };
  readonly plan: { readonly diff: unknown; readonly live: unknown };
}

/** Whether a set is in force. `unsaved`: it was not saved, so it never comes into force. The rest is as in `Pushed`. */
export type PushedSet = Pushed | { readonly number: null; readonly outcome: "unsaved" };

/** Every question about the rules, with its argument and its answer. */
export interface RuleSetQuestions {
  rules: { with: undefined; gives: RulesInForce };
  /** @param since A set; the edits after it are listed. */
  rulesState: { with: { readonly since: number }; gives: RulesState };
  ruleHistory: {
    with: { readonly limit: number; readonly before: number | null };
    gives: readonly SetSummary[];
  };
  /** `null` if it is not kept. */
  ruleSet: { with: number; gives: SetContent | null };
  /** `null` if one of them is not kept. */
  diffRuleSets: {
    with: { readonly from: number; readonly to: number };
    gives:
      | { readonly diff: RulesDiff; readonly isSameTests: boolean }
      | { readonly unreadable: string }
      | null;
  };
  acknowledgements: { with: undefined; gives: readonly Acknowledgement[] };
  testRules: { with: TestedDraft; gives: DraftTests };
  judgeSet: { with: TestedDraft; gives: JudgedSet };
  /** `null` if no request is recorded. */
  replayRequests: { with: string; gives: Replay | EditProblems | null };
  pushSet: { with: SetToPush; gives: PushedSet };
}
