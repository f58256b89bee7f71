import { readFile } from "node:fs/promises";
import { closest } from "../match/did-you-mean.ts";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import type { CollectionRules, RuleSet } from "../rules/compile-rules.ts";
import { RuleTestFile } from "../rules/rule-test-options.ts";
import { type ConfigProblem, type ConfigText, type Path, readConfigText } from "./config-text.ts";
import { inFileOrder, reporter, sectionOf } from "./examine.ts";
import { toCodeForm } from "./file-form.ts";
import { fileIssues } from "./issue-text.ts";
import { decodeUtf8, NotUtf8 } from "./utf8.ts";

/** Valid rule tests with their text, or every problem of the file. */
export type ParsedRuleTests =
  | { readonly ok: true; readonly tests: RuleTestFile; readonly source: ConfigText }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Judges a file of rule tests whole, before any of them is run.
 * @param rules What the names in it must be names of; `null` where the rules are not right themselves.
 */
export function parseRuleTests(
  text: string,
  file: string,
  env: NodeJS.ProcessEnv,
  rules: RuleSet | null,
): ParsedRuleTests {
  const source = readConfigText(text, file, env);
  const problems: ConfigProblem[] = [...source.problems];
  const refused = () => ({ ok: false, problems: inFileOrder(problems) }) as const;
  if (source.value === undefined || source.value === null) {
    if (problems.length === 0)
      problems.push(source.problem([], "the file is empty. Write at least one of tests"));
    return refused();
  }
  const report = reporter(source, problems);
  const codeForm = toCodeForm(RuleTestFile, source.value, source, report);
  const parsed = parseUntrusted(RuleTestFile, codeForm, { error: (issue) => issue.code });
  if (!parsed.success) {
    for (const { path, message } of fileIssues(RuleTestFile, parsed.error, source)) report(path, message);
  }
  if (rules !== null) {
    for (const { path, message, at } of unknownNames(codeForm, rules)) report(path, message, at);
  }
  return parsed.success && problems.length === 0 ? { ok: true, tests: parsed.data, source } : refused();
}

/** Reads and judges a file of rule tests; one that cannot be read is a problem like any other. */
export async function loadRuleTests(
  file: string,
  env: NodeJS.ProcessEnv,
  rules: RuleSet | null,
): Promise<ParsedRuleTests> {
  let text: string;
  try {
    text = decodeUtf8(await readFile(file));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
    const message =
      cause instanceof NotUtf8
        ? cause.message
        : `the file cannot be read (${code}). Name files of rule tests, such as config/tidewire.test.yaml`;
    return { ok: false, problems: [{ file, line: 1, column: 1, path: "", message }] };
  }
  return parseRuleTests(text, file, env, rules);
}

interface NameProblem {
  readonly path: Path;
  readonly message: string;
  readonly at: "key" | "value";
}

/**
 * Names that the configuration does not have: a misspelt one must not pass for forbidden. Nothing else in the file
 * needs to be right, so that all mistakes are reported together.
 */
function* unknownNames(codeForm: unknown, rules: RuleSet): Generator<NameProblem> {
  yield* unknownGiven(sectionOf(codeForm, "given"), [...rules.collections.values()], []);
  const tests = sectionOf(codeForm, "tests");
  for (const [index, test] of (Array.isArray(tests) ? tests : []).entries()) {
    const path = ["tests", index];
    const name = sectionOf(test, "collection");
    if (typeof name !== "string") continue;
    const collection = rules.collections.get(name);
    if (collection === undefined) {
      const message = unknownName("collection", name, [...rules.collections.keys()]);
      yield { path: [...path, "collection"], message, at: "value" };
      continue;
    }
    const rule = sectionOf(test, "rule");
    const names = collection.rules.map((known) => known.name);
    if (typeof rule === "string" && !names.includes(rule)) {
      yield { path: [...path, "rule"], message: unknownName(`rule of ${name}`, rule, names), at: "value" };
    }
    yield* unknownGiven(sectionOf(test, "given"), [collection], path);
  }
}

function* unknownGiven(
  given: unknown,
  collections: readonly CollectionRules[],
  path: Path,
): Generator<NameProblem> {
  if (typeof given !== "object" || given === null) return;
  const read = collections.flatMap(({ lookups }) => [...lookups.values()]);
  const names = [...new Set(read.map(({ collectionName }) => collectionName))];
  const known = new Set([...names, ...read.map((lookup) => `${lookup.database}.${lookup.collectionName}`)]);
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue;
    const message =
      names.length === 0
        ? "no lookup reads another collection here. Remove it"
        : unknownName("collection that a lookup reads", name, names);
    yield { path: [...path, "given", name], message, at: "key" };
  }
}

function unknownName(what: string, name: string, known: readonly string[]): string {
  const guess = closest(name, known);
  const advice = guess === undefined ? "" : ` Did you mean ${JSON.stringify(guess)}?`;
  return `${JSON.stringify(name)} is no ${what}.${advice} There are: ${known.join(", ")}`;
}
