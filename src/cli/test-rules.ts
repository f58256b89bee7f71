import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError, formatProblem } from "../config/config.ts";
import type { ConfigProblem, ConfigText } from "../config/config-text.ts";
import { type ConfiguredRules, loadRules } from "../config/load-rules.ts";
import { loadRuleTests } from "../config/rule-tests.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { RuleCoverage, type Untested } from "../rules/rule-coverage.ts";
import { type RuleTestFailure, testRules as runRuleTests } from "../rules/test-rules.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";

const HELP = `Usage: tidewire test-rules [FILES…] [options]

Runs the tests of the rules. A test names a user, a request, and the documents that the user must see and must not see.
The function that authorizes clients decides. Opens no connection, and needs none of the configuration's secrets.

Options:
  -c, --config FILE   the configuration (default config/tidewire.yaml)
      --json          print the result as JSON, for machines
      FILES           the tests (default: every *.test.yaml, .yml and .json in the folder of the
                      configuration, except a.test.yaml if a.yaml is another configuration)

Examples:
  tidewire test-rules
  tidewire test-rules config/orders.test.yaml
  tidewire test-rules --config deploy/tidewire.yaml config/*.test.yaml

A file of tests, such as config/tidewire.test.yaml:

  tests:
    - name: customers see their own orders, without the margin
      as: { sub: ada }                    # the claims of a token; or  anonymous: true
      collection: orders
      rule: customer                      # optional: the rule that must apply
      documents:                          # plain values or Extended JSON
        - visible: { _id: 1, customerId: ada, total: 30, margin: 4 }
          without: [margin]               # optional; or exactly:  shown: { _id: 1, … }
        - hidden: { _id: 2, customerId: ben }

    - name: a filter cannot use a hidden field
      as: { sub: ada }
      collection: orders
      filter: { margin: { $gt: 3 } }      # the request: filter, fields, sort, limit, snapshot, aggregate
      expect: forbidden

    - name: members read their rooms
      as: { sub: ada }
      collection: messages
      now: 2026-01-15T12:00:00Z           # optional: the value of %%now
      given:                              # the documents that lookups read
        members: [{ userId: ada, roomId: tea }]
      documents:
        - visible: { _id: 1, roomId: tea }

Exit codes: 0 every test holds, 1 a test fails or cannot be run, 2 the command line is invalid.`;

interface Placed extends Omit<RuleTestFailure, "path">, Omit<ConfigProblem, "message"> {}

interface Result {
  readonly files: readonly string[];
  readonly tests: number;
  readonly failed: number;
  readonly failures: readonly Placed[];
  /** Why the configuration or a file of tests could not be used. */
  readonly problems: readonly ConfigProblem[];
  /** The rules, and the branches of rules, that no test reaches. */
  readonly untested: readonly Untested[];
}

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...CONFIG_FLAG, json: { type: "boolean" } },
  });
  const result = await testAll(values.config, positionals, io);
  if (values.json) io.out(JSON.stringify(result, null, 2));
  else print(result, io);
  return result.failures.length + result.problems.length > 0 ? 1 : 0;
}

async function testAll(configFile: string, named: readonly string[], io: Io): Promise<Result> {
  const files = named.length > 0 ? named : await testsBeside(configFile);
  const problems: ConfigProblem[] = [];
  const configured = await configuredRules(configFile, io, problems);
  const rules = configured && compileRules(configured.source);
  if (files.length === 0 && configured !== null) problems.push(noTests(configFile));
  const failures: Placed[] = [];
  const coverage = rules && new RuleCoverage(rules);
  let tests = 0;
  let failed = 0;
  for (const file of files) {
    const loaded = await loadRuleTests(file, io.env, rules);
    if (!loaded.ok) problems.push(...loaded.problems);
    // Mistakes in the tests are reported even if the rules have mistakes.
    if (!loaded.ok || configured === null || rules === null || coverage === null) continue;
    const settings = { anonymous: configured.anonymous, nowMs: io.now() };
    const ran = runRuleTests(rules, loaded.tests, settings, coverage);
    tests += ran.tests;
    failed += ran.failed;
    failures.push(...ran.failures.map((failure) => placed(failure, loaded.source)));
  }
  const untested = problems.length > 0 || coverage === null ? [] : coverage.untested();
  return { files, tests, failed, failures, problems, untested };
}

async function configuredRules(
  file: string,
  io: Io,
  problems: ConfigProblem[],
): Promise<ConfiguredRules | null> {
  try {
    return await loadRules(file, io.env);
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
export function placed({ path, ...failure }: RuleTestFailure, source: ConfigText): Placed {
  const { message: _, ...place } = source.problem(path, "", "key");
  return { ...place, ...failure };
}

function print({ files, tests, failed, failures, problems, untested }: Result, io: Io): void {
  for (const problem of problems) io.err(formatProblem(problem));
  for (const failure of failures) io.out(`${failureText(failure)}\n`);
  const text = untestedText(untested);
  if (text !== "") io.out(text);
  const counts = [
    ...(failed === 0 ? [] : [`${failed} failed`]),
    `${tests - failed} passed`,
    ...(problems.length === 0 ? [] : ["not all could be run"]),
  ];
  io.out(`tests: ${counts.join(", ")}${files.length === 0 ? "" : ` (${files.join(", ")})`}`);
}

function untestedText(untested: readonly Untested[]): string {
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
export function failureText(failure: Placed): string {
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

/** `tidewire test-rules`: runs the tests of the rules. */
export const testRules: Command = { help: HELP, run };
