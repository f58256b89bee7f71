import type { RuleSetTestResult } from "../../source/rule-set-store.ts";
import type { Io } from "../../terminal/io.ts";
import { type At, firstLine, withRuleSets } from "./rules-database.ts";

/** A set in the log. */
export interface LoggedSet {
  readonly number: number;
  readonly author: string;
  readonly message: string;
  /** In ISO 8601. */
  readonly at: string;
  readonly parent: number;
  /** The effect that was computed before the set was saved. */
  readonly plan: unknown;
  readonly testResult: RuleSetTestResult | null;
}

/** `tidewire rules log`: the sets, latest first. */
export async function logSets(most: number, asJson: boolean, at: At): Promise<number> {
  const history = await withRuleSets(at, ({ sets }) => sets.history(most));
  return printLog(
    history.map(({ at: time, ...set }) => ({ ...set, at: time.toISOString() })),
    asJson,
    at.io,
  );
}

/** Prints the sets. @returns The exit code. */
export function printLog(sets: readonly LoggedSet[], asJson: boolean, io: Io): number {
  if (asJson) {
    const entries = sets.map(({ number, author, message, at, parent, plan, testResult }) => ({
      number,
      author,
      message,
      at,
      parent,
      plan,
      testResult,
    }));
    io.out(JSON.stringify(entries, null, 2));
    return 0;
  }
  if (sets.length === 0) io.out("no rule set was ever in force: tidewire rules push FILE -m TEXT");
  for (const [index, { number, author, message, at, testResult }] of sets.entries()) {
    const tests = testResult === null ? "no tests" : `${testResult.tests} tests`;
    const mark = index === 0 ? "*" : " ";
    io.out(`${mark} ${String(number).padStart(4)}  ${at}  ${author}  ${tests}  ${firstLine(message)}`);
  }
  return 0;
}
