import { basename, dirname, resolve } from "node:path";
import { z } from "zod";
import { formatProblem } from "../../config/config.ts";
import { parseRuleTests } from "../../config/rule-tests.ts";
import { countsText, failureText, untestedText } from "../rule-test-text.ts";
import { type RuleTests, runRuleTests, testsBeside } from "../run-rule-tests.ts";
import { chooseRules, DRAFT_INPUT, NOTES_OUTPUT, ProblemOutput } from "./configured.ts";
import { draftEnvironment } from "./draft-environment.ts";
import { DRAFT_MAX, readDraft } from "./draft-files.ts";
import type { McpSettings } from "./settings.ts";
import { defineTool, type Tool, ToolError } from "./tool.ts";

const Output = z.object({
  files: z.array(z.string()),
  tests: z.number().describe("How many tests were run."),
  failed: z.number(),
  failures: z
    .array(
      z.object({
        file: z.string(),
        line: z.number(),
        column: z.number(),
        test: z.string(),
        collection: z.string(),
        expected: z.string(),
        found: z.string(),
        because: z.string().nullable(),
        differences: z.array(z.string()),
      }),
    )
    .describe("Each expectation that does not hold."),
  problems: z.array(ProblemOutput).describe("Why a file of tests could not be used."),
  untested: z
    .array(
      z.object({
        collection: z.string(),
        rule: z.string(),
        part: z.string().nullable(),
        branch: z.string().nullable(),
      }),
    )
    .describe("The rules, and the branches of $or, that no test reaches."),
  notes: NOTES_OUTPUT,
});

const EXAMPLE =
  "tests:\n  - name: customers see their own orders\n    as: { sub: ada }\n    collection: orders\n    documents:\n      - visible: { _id: 1, customerId: ada }\n      - hidden: { _id: 2, customerId: ben }";

/** The tool `test-rules`. */
export const testRulesTool = (settings: McpSettings): Tool =>
  defineTool({
    name: "test-rules",
    title: "Run the tests of the rules",
    description:
      "Runs tests of the authorization rules: each names a user, a request, and the documents that the user must see and must not see. Runs the tests beside the configuration in force, or the given ones, against the rules in force or a draft of them. Run it before you propose an edit of the rules, and add tests for each rule that you change. Opens no connection.",
    input: z.strictObject({
      testsText: z
        .string()
        .max(DRAFT_MAX)
        .optional()
        .describe(`Tests as YAML or JSON text in place of the files, such as:\n${EXAMPLE}`),
      testFiles: z
        .array(z.string().max(1_024))
        .min(1)
        .max(50)
        .optional()
        .describe("Paths of files of tests, relative to the folder that this server may read."),
      ...DRAFT_INPUT,
    }),
    output: Output,
    isOpenWorld: false,
    run: async ({ testsText, testFiles, ...draft }) => {
      if (testsText !== undefined && testFiles !== undefined)
        throw new ToolError("give testsText or testFiles, not both");
      const configured = await chooseRules(draft, settings);
      const tests = await chooseTests(settings, testsText, testFiles);
      const report = await runRuleTests(configured, tests, settings.now());
      const text = [
        ...report.problems.map(formatProblem),
        ...report.failures.map((failure) => `${failureText(failure)}\n`),
        untestedText(report.untested),
        countsText(report),
        configured.chosen.note ?? "",
      ];
      const notes = configured.chosen.note === null ? [] : [configured.chosen.note];
      const failures = report.failures.map(
        ({ claims: _claims, rules: _rules, document: _document, ...rest }) => rest,
      );
      return { text: text.filter((part) => part !== "").join("\n"), data: { ...report, failures, notes } };
    },
  });

async function chooseTests(
  { started, draftFolder, env }: McpSettings,
  testsText: string | undefined,
  testFiles: readonly string[] | undefined,
): Promise<RuleTests[]> {
  const ofAgent = (file: string, text: string): RuleTests => {
    const draft = draftEnvironment(text, started.text ?? "", env);
    return { file, parse: (rules) => parseRuleTests(text, file, draft.env, rules) };
  };
  if (testsText !== undefined) return [ofAgent("tests", testsText)];
  if (testFiles !== undefined) {
    const files: RuleTests[] = [];
    for (const file of testFiles) files.push(ofAgent(file, await readDraft(draftFolder, file)));
    return files;
  }
  const beside = await testsBeside(started.file);
  if (beside.length === 0)
    throw new ToolError(
      `there are no tests beside ${started.file}. Give some as testsText, such as:\n${EXAMPLE}`,
    );
  // The agent does not name these files, but it may have written them.
  return Promise.all(
    beside.map(async (file) => ofAgent(file, await readDraft(resolve(dirname(file)), basename(file)))),
  );
}
