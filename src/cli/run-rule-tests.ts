import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConfigError } from "../config/config.ts";
import type { ConfigProblem, ConfigText } from "../config/config-text.ts";
import { type ConfiguredRules, loadRules } from "../config/load-rules.ts";
import { loadRuleTests, type ParsedRuleTests } from "../config/rule-tests.ts";
import { compileRules, type RuleSet } from "../rules/compile-rules.ts";
import { RuleCoverage, type Untested } from "../rules/rule-coverage.ts";
import { type RuleTestFailure, testRules } from "../rules/test-rules.ts";

/** A failure with its location in the file. */
export interface PlacedFailure extends Omit<RuleTestFailure, "path">, Omit<ConfigProblem, "message"> {}

/** The result of all tests of a run. */
export interface RuleTestReport {
  readonly files: readonly string[];
  readonly tests: number;
  readonly failed: number;
  readonly failures: readonly PlacedFailure[];
  /** Why the configuration or a file of tests could not be used. */
  readonly problems: readonly ConfigProblem[];
  /** The rules, and the branches of rules, that no test reaches. */
  readonly untested: readonly Untested[];
}

/** A file of tests, or a text in its place. */
export interface RuleTests {
  readonly file: string;
  /** Judges it. @param rules As in `parseRuleTests`. */
  parse(rules: RuleSet | null): ParsedRuleTests | Promise<ParsedRuleTests>;
}

/**
 * Runs the tests of a configuration.
 * @param named The files of tests. None: those beside the configuration.
 * @param nowMs The value of `%%now` in tests that set none, in epoch milliseconds.
 */
export async function runTestFiles(
  configFile: string,
  named: readonly string[],
  env: NodeJS.ProcessEnv,
  nowMs: number,
): Promise<RuleTestReport> {
  const files = named.length > 0 ? named : await testsBeside(configFile);
  const problems: ConfigProblem[] = [];
  const configured = await configuredRules(configFile, env, problems);
  if (files.length === 0 && configured !== null) problems.push(noTests(configFile));
  const sources = files.map((file) => ({
    file,
    parse: (rules: RuleSet | null) => loadRuleTests(file, env, rules),
  }));
  return runRuleTests(configured, sources, nowMs, problems);
}

/**
 * Runs tests.
 * @param configured `null` if the rules have mistakes. The tests are judged then, but not run.
 * @param before Problems that are reported with those of the tests.
 */
export async function runRuleTests(
  configured: ConfiguredRules | null,
  sources: readonly RuleTests[],
  nowMs: number,
  before: readonly ConfigProblem[] = [],
): Promise<RuleTestReport> {
  const problems = [...before];
  const rules = configured && compileRules(configured.source);
  const failures: PlacedFailure[] = [];
  const coverage = rules && new RuleCoverage(rules);
  let tests = 0;
  let failed = 0;
  for (const source of sources) {
    const loaded = await source.parse(rules);
    if (!loaded.ok) problems.push(...loaded.problems);
    // Mistakes in the tests are reported even if the rules have mistakes.
    if (!loaded.ok || configured === null || rules === null || coverage === null) continue;
    const ran = testRules(rules, loaded.tests, { anonymous: configured.anonymous, nowMs }, coverage);
    tests += ran.tests;
    failed += ran.failed;
    failures.push(...ran.failures.map((failure) => placed(failure, loaded.source)));
  }
  const untested = problems.length > 0 || coverage === null ? [] : coverage.untested();
  return { files: sources.map(({ file }) => file), tests, failed, failures, problems, untested };
}

async function configuredRules(
  file: string,
  env: NodeJS.ProcessEnv,
  problems: ConfigProblem[],
): Promise<ConfiguredRules | null> {
  try {
    return await loadRules(file, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return null;
  }
}

const IS_TEST = /\.test\.(?:ya?ml|json)$/;
const IS_YAML_OR_JSON = /\.(?:ya?ml|json)$/;

/** The tests in the configuration's folder, but for those that bear the name of another configuration in it. */
export async function testsBeside(configFile: string): Promise<string[]> {
  const folder = dirname(configFile);
  const names = await readdir(folder).catch(() => {
    // Without the folder there is no configuration either, and that error is clearer.
    return [];
  });
  const stem = (name: string) => name.split(".")[0];
  const others = new Set(
    names
      .filter((name) => IS_YAML_OR_JSON.test(name) && !IS_TEST.test(name) && name !== basename(configFile))
      .map(stem),
  );
  return names
    .filter(
      (name) => IS_TEST.test(name) && (stem(name) === stem(basename(configFile)) || !others.has(stem(name))),
    )
    .sort()
    .map((name) => join(folder, name));
}

/** A run without any test must not look like a success. */
function noTests(configFile: string): ConfigProblem {
  const place = join(dirname(configFile), "*.test.yaml");
  const message = `there are no tests beside it (${place}). Write some: tidewire help test-rules shows how`;
  return { file: configFile, line: 1, column: 1, path: "", message };
}

/** A failure with its location in the file. */
export function placed({ path, ...failure }: RuleTestFailure, source: ConfigText): PlacedFailure {
  const { message: _, ...place } = source.problem(path, "", "key");
  return { ...place, ...failure };
}
