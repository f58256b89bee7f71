import { parseArgs } from "node:util";
import { formatProblem } from "../config/config.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";
import { countsText, failureText, untestedText } from "./rule-test-text.ts";
import { type RuleTestReport, runTestFiles } from "./run-rule-tests.ts";

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

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...CONFIG_FLAG, json: { type: "boolean" } },
  });
  const report = await runTestFiles(values.config, positionals, io.env, io.now());
  if (values.json) io.out(JSON.stringify(report, null, 2));
  else print(report, io);
  return report.failures.length + report.problems.length > 0 ? 1 : 0;
}

function print(report: RuleTestReport, io: Io): void {
  for (const problem of report.problems) io.err(formatProblem(problem));
  for (const failure of report.failures) io.out(`${failureText(failure)}\n`);
  const text = untestedText(report.untested);
  if (text !== "") io.out(text);
  io.out(countsText(report));
}

/** `tidewire test-rules`: runs the tests of the rules. */
export const testRules: Command = { help: HELP, run };
