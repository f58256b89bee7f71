/**
 * A rule set before it is saved: read from a text, judged as the nodes will judge it, and tested. Nothing here reads a
 * file or a database.
 */
import { compileRules, type RuleSet } from "../rules/compile-rules.ts";
import { RuleCoverage, type Untested } from "../rules/rule-coverage.ts";
import type { RuleTestFile } from "../rules/rule-test-options.ts";
import { type RuleTestFailure, type RuleTestRun, testRules } from "../rules/test-rules.ts";
import type { Config } from "./config.ts";
import { type ConfigProblem, type ConfigText, readConfigText } from "./config-text.ts";
import { sectionOf } from "./examine.ts";
import { type RuleSetTerms, readCollections, readRuleSet } from "./rule-set.ts";
import { collectionsText, joinTests, testsText } from "./rule-set-text.ts";
import { parseRuleTests } from "./rule-tests.ts";
import { formatSize } from "./units.ts";

/** One file, as text. */
export interface TextFile {
  readonly file: string;
  readonly text: string;
}

/** The settings with which a draft is judged. */
export interface DraftTerms {
  readonly terms: RuleSetTerms;
  /** Whether clients without a token are admitted (`auth.anonymous`). */
  readonly anonymous: boolean;
  /** The environment that the text may name. It is filled in, because all nodes must read the same rules. */
  readonly env: NodeJS.ProcessEnv;
  readonly nowMs: number;
}

/** A draft that is valid, with the outcome of its tests. */
export interface Draft {
  /** The set that the text was made from, as it says; `null` if it does not say. */
  readonly parent: number | null;
  readonly collections: Config["collections"];
  readonly rules: RuleSet;
  /** The content of the set, as it is saved. */
  readonly text: { readonly collections: string; readonly tests: string };
  readonly tests: number;
  readonly failed: number;
  /** Failures with the text of their file, which knows the locations. */
  readonly failures: readonly { readonly failure: RuleTestFailure; readonly source: ConfigText }[];
  /** The rules, and the branches of rules, that no test reaches. */
  readonly untested: readonly Untested[];
}

/** A valid draft, or everything that is wrong with it. */
export type JudgedDraft =
  | { readonly ok: true; readonly draft: Draft }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Judges a draft and runs its tests.
 * @param testFiles Further files of tests; used if the text has no tests of its own.
 */
export function judgeDraft(
  { file, text }: TextFile,
  testFiles: readonly TextFile[],
  { terms, anonymous, env, nowMs }: DraftTerms,
): JudgedDraft {
  const source = readConfigText(text, file, env);
  const read = readCollections(source, terms);
  const parent = parentOf(source);
  const problems = [
    ...(read.ok ? [] : read.problems),
    ...(typeof parent === "object" && parent ? [parent] : []),
  ];
  if (!read.ok || problems.length > 0) return { ok: false, problems };
  const rules = compileRules({ ...terms, collections: read.collections });
  const tested = runTests(source, text, testFiles, { rules, anonymous, env, nowMs });
  if (!tested.ok) return tested;
  const collections = collectionsText(text, source.value);
  confirm(collections, read.collections, terms);
  const { ok: _, testsText: tests, ...outcome } = tested;
  return {
    ok: true,
    draft: {
      parent: typeof parent === "number" ? parent : null,
      collections: read.collections,
      rules,
      text: { collections, tests },
      ...outcome,
    },
  };
}

/** A plan that would be larger is not saved with its set. In characters of JSON. */
const PLAN_MAX = 128 * 1_024;

/** The effect of a set as it is saved with the set, for display; `null` if it is too large to keep. */
export function planToKeep(plan: { readonly diff: unknown; readonly live: unknown }): object | null {
  return JSON.stringify(plan).length > PLAN_MAX ? null : plan;
}

/** Why a set must not be saved, whatever its content is: it is larger than `rules.setBytes`. `null` if it fits. */
export function tooLarge({ collections, tests }: Draft["text"], setBytes: number): string | null {
  const bytes = Buffer.byteLength(collections) + Buffer.byteLength(tests);
  if (bytes <= setBytes) return null;
  return `the set takes ${bytes} bytes, more than rules.setBytes (${formatSize(setBytes)})`;
}

/** The number under `parent`; a problem if it is no number; `null` if it is absent. */
function parentOf(source: ConfigText): number | ConfigProblem | null {
  const parent = sectionOf(source.value, "parent");
  if (parent === undefined) return null;
  if (typeof parent === "number" && Number.isSafeInteger(parent) && parent >= 0) return parent;
  return source.problem(
    ["parent"],
    "the number of the rule set from which the edit starts. tidewire rules pull writes it",
  );
}

interface Tested extends Pick<Draft, "tests" | "failed" | "failures" | "untested"> {
  readonly ok: true;
  readonly testsText: string;
}

interface TestParts extends Pick<DraftTerms, "anonymous" | "env" | "nowMs"> {
  readonly rules: RuleSet;
}

function runTests(
  source: ConfigText,
  text: string,
  testFiles: readonly TextFile[],
  parts: TestParts,
): Tested | { readonly ok: false; readonly problems: readonly ConfigProblem[] } {
  const own = testsText(text, source.value);
  const files = own === "" ? testFiles : [{ file: `${source.problem([], "").file}, tests`, text: own }];
  const parsed = files.map((given) => ({
    given,
    // The tests of the draft itself have their environment filled in already.
    read: parseRuleTests(given.text, given.file, own === "" ? parts.env : {}, parts.rules),
  }));
  const problems = parsed.flatMap(({ read }) => (read.ok ? [] : read.problems));
  if (problems.length > 0) return { ok: false, problems };
  const runs: { readonly run: RuleTestRun; readonly source: ConfigText }[] = [];
  const values: RuleTestFile[] = [];
  const coverage = new RuleCoverage(parts.rules);
  for (const { read } of parsed) {
    if (!read.ok) continue;
    values.push(read.tests);
    // The paths of tests in the draft itself are the same in the whole text, which knows the lines.
    const run = testRules(parts.rules, read.tests, parts, coverage);
    runs.push({ run, source: own === "" ? read.source : source });
  }
  return {
    ok: true,
    testsText: savedTests(own, parsed, values),
    tests: runs.reduce((sum, { run }) => sum + run.tests, 0),
    failed: runs.reduce((sum, { run }) => sum + run.failed, 0),
    failures: runs.flatMap((ran) => ran.run.failures.map((failure) => ({ failure, source: ran.source }))),
    untested: coverage.untested(),
  };
}

/** One file keeps its comments. Several become one. */
function savedTests(
  own: string,
  parsed: readonly { readonly given: TextFile; readonly read: ReturnType<typeof parseRuleTests> }[],
  values: readonly RuleTestFile[],
): string {
  if (own !== "") return own;
  const [only] = parsed;
  if (only === undefined) return "";
  if (parsed.length === 1 && only.read.ok) return testsText(only.given.text, only.read.source.value);
  return joinTests(values);
}

/** Confirms that nodes will read from the saved text what was judged: rules that differ would grant other rights. */
function confirm(text: string, collections: Config["collections"], terms: RuleSetTerms): void {
  const saved = readRuleSet(text, "the saved text", terms);
  if (saved.ok && JSON.stringify(saved.collections) === JSON.stringify(collections)) return;
  throw new Error("the saved text of the rules would differ from the file: please report it");
}
