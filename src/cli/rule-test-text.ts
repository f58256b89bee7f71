/** The output of `tidewire test-rules`. */
import type { Untested } from "../rules/rule-coverage.ts";
import type { PlacedFailure, RuleTestReport } from "./run-rule-tests.ts";

/** How many tests passed, and in which files. */
export function countsText({ files, tests, failed, problems }: RuleTestReport): string {
  const counts = [
    ...(failed === 0 ? [] : [`${failed} failed`]),
    `${tests - failed} passed`,
    ...(problems.length === 0 ? [] : ["not all could be run"]),
  ];
  return `tests: ${counts.join(", ")}${files.length === 0 ? "" : ` (${files.join(", ")})`}`;
}

/** The parts of the rules that no test reaches; empty if there are none. */
export function untestedText(untested: readonly Untested[]): string {
  const rules = untested.flatMap(({ collection, rule, part }) =>
    part === null ? `${collection}: ${rule}` : [],
  );
  const branches = untested.flatMap(({ collection, rule, part, branch }) =>
    part === null ? [] : `  ${collection}: ${rule}, ${part}: ${branch}`,
  );
  return [
    ...(rules.length === 0 ? [] : [`rules that no test reaches: ${rules.join(", ")}`]),
    ...(branches.length === 0 ? [] : ["branches of $or that no test reaches:", ...branches]),
  ].join("\n");
}

/** A longer document is cut. The message says where the document is in the file. */
const MAX_VALUE_LENGTH = 400;

/** A failure for a terminal. */
export function failureText(failure: PlacedFailure): string {
  const { file, line, column, test, claims, collection, rules, document, expected, found, because } = failure;
  const rows: [string, string][] = [
    ["user", `${claims === null ? "anonymous" : JSON.stringify(claims)} on ${collection}`],
    ...rules.map((rule, index): [string, string] => [
      index === 0 ? "rules" : "",
      `${rule.applies ? "→" : " "} ${rule.name}: ${rule.because}`,
    ]),
    ...(document === null ? [] : [["document", JSON.stringify(document)] satisfies [string, string]]),
    ["expected", expected],
    ["found", because === null ? found : `${found}, as ${because}`],
    ...failure.differences.map((text): [string, string] => ["", text]),
  ];
  const lines = rows.map(([label, text]) => `  ${label.padEnd(9)} ${cut(text)}`);
  return [`${file}:${line}:${column}: ${test}`, ...lines].join("\n");
}

const cut = (text: string) =>
  text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH - 1)}…` : text;
