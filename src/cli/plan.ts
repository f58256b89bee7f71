import { parseArgs } from "node:util";
import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import { loadRules } from "../config/load-rules.ts";
import type { RulesSource } from "../rules/compile-rules.ts";
import { diffRules } from "../rules/diff-rules.ts";
import { StartupError } from "../source/startup-error.ts";
import { type Command, DEFAULT_CONFIG, type Io, UsageError } from "./command.ts";
import { diffText, liveText } from "./plan-text.ts";

const HELP = `Usage: tidewire plan --config FILE [--against FILE] [--admin URL] [options]

Says what an edit of the rules would do, before it is saved where a running service sees it: which rules become
others and whether they show more or less, and how many live subscriptions would gain, lose or end. Nothing is
applied. Of the configuration only the rules and limits are read.

Options:
  -c, --config FILE    the edited configuration
      --against FILE   the rules as they are (default config/tidewire.yaml, unless --admin is given)
      --admin URL      a running node, by its admin listener: compare with its rules, and count its subscriptions.
                       Needs server.admin.token: out of TIDEWIRE_ADMIN_TOKEN, or else as --config has it
      --json           print JSON, for machines

What becomes of a live subscription:
  unchanged  it sees the same, and if it is the same live query it is sent nothing
  gains      it sees more documents or fields, and none less
  loses      it sees fewer
  changes    more here and fewer there, or which of both the rules alone do not tell
  ends       nothing allows it any more
  unknown    it depends on a lookup that the node has not read yet

Counted is what may be seen, not which documents there are. With several nodes, ask each for its own clients.

Examples:
  tidewire plan --config new.yaml
  tidewire plan --config new.yaml --against deploy/tidewire.yaml
  tidewire plan --config new.yaml --admin http://127.0.0.1:8481

Exit codes: 0 here is the plan, 1 the edit has a mistake or the node does not answer, 2 the command line was not
understood.`;

const NO_TOKEN = "needs its token: set TIDEWIRE_ADMIN_TOKEN to the node's server.admin.token";
const WRONG_TOKEN =
  "has another token: TIDEWIRE_ADMIN_TOKEN, or server.admin.token of --config, must be the node's server.admin.token";

/** Many subscriptions take a while; a node that is gone does not say so. */
const ANSWER_TIMEOUT_MS = 120_000;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      config: { type: "string", short: "c" },
      against: { type: "string" },
      admin: { type: "string" },
      json: { type: "boolean" },
    },
  });
  if (values.config === undefined) throw new UsageError("--config is needed: the edited configuration");
  const url = values.admin === undefined ? undefined : planUrl(values.admin);
  const { source: edited, adminToken } = await loadRules(values.config, io.env);
  const against = values.against ?? (url === undefined ? DEFAULT_CONFIG : undefined);
  const ofFiles =
    against === undefined ? undefined : diffRules((await loadRules(against, io.env)).source, edited);
  const answer =
    url === undefined ? undefined : await ask(url, edited, io.env["TIDEWIRE_ADMIN_TOKEN"] || adminToken);
  if (answer !== undefined && "problems" in answer) {
    for (const { path, message } of answer.problems) io.err(`${values.config}: ${path}: ${message}`);
    return 1;
  }
  // Between two files more can be shown; the node does not give away the rules that it has.
  const diff = ofFiles ?? answer?.diff;
  if (values.json) io.out(JSON.stringify({ ...answer, diff }, null, 2));
  else {
    if (diff !== undefined) io.out(diffText(diff));
    if (answer !== undefined) io.out(`\n${liveText(answer)}`);
  }
  return 0;
}

function planUrl(text: string): URL {
  const url = URL.canParse("/plan", text) ? new URL("/plan", text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:")
    throw new UsageError("--admin takes the URL of an admin listener, such as http://127.0.0.1:8481");
  return url;
}

/** Asks a running node. @throws {StartupError} It does not answer, or not this. */
async function ask(url: URL, edited: RulesSource, token: string): Promise<EditPlan | EditProblems> {
  const fail = (why: string, cause?: unknown) =>
    new StartupError(`${url.origin} ${why}`, [], cause === undefined ? {} : { cause });
  let response: Response;
  let text: string;
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const headers: Record<string, string> = token === "" ? {} : { authorization: `Bearer ${token}` };
    // A redirect could send the token, or the rules, elsewhere.
    response = await fetch(url, { method: "POST", headers, body: fileOf(edited), redirect: "error", signal });
    text = await response.text();
  } catch (cause) {
    throw fail("does not answer: is the node running, and is that its server.admin listener?", cause);
  }
  const answer = parseObject(text);
  if (response.status === 200 && "live" in answer) return answer as unknown as EditPlan; // as `PlanRoute` answers
  if (response.status === 422 && "problems" in answer) return answer as unknown as EditProblems;
  if (response.status === 401) throw fail(token === "" ? NO_TOKEN : WRONG_TOKEN);
  if (response.status === 404) throw fail("is not the admin listener of a node (server.admin)");
  throw fail(`answers ${response.status}: ${String(answer["error"] ?? "nothing that is understood")}`);
}

/**
 * The rules as a file would have them. Environment variables are filled in here, the node has others; what looks
 * like one by now is just a text.
 */
function fileOf({ mongodb, collections, limits, rules }: RulesSource): string {
  const { filterDepth, filterPredicates, filterValues, projectionNodes, sortPaths, windowSize } = limits;
  const requestLimits = {
    filterDepth,
    filterPredicates,
    filterValues,
    projectionNodes,
    sortPaths,
    windowSize,
  };
  const steps = rules === undefined ? {} : { rules: { nowStep: `${rules.nowStepMs}ms` } };
  const file = { mongodb, collections, limits: requestLimits, ...steps };
  const asText = (value: unknown) => (typeof value === "string" ? value.split("${").join("$${") : value);
  return JSON.stringify(file, (_key, value: unknown) => asText(value));
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {}; // whoever answers there is no node: the status says what is told
  }
}

export const plan: Command = { help: HELP, run };
