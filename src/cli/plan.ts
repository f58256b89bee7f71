import { parseArgs } from "node:util";
import { loadConfig } from "../config/config.ts";
import { loadRules } from "../config/load-rules.ts";
import { compileRules, type RulesSource } from "../rules/compile-rules.ts";
import { diffRules } from "../rules/diff-rules.ts";
import { RequestStore } from "../source/request-store.ts";
import type { Io } from "../terminal/io.ts";
import { adminTokenOf, adminUrl } from "./ask-node.ts";
import { askForPlan } from "./ask-plan.ts";
import { type Command, DEFAULT_CONFIG, UsageError } from "./command.ts";
import { diffText, liveText } from "./plan-text.ts";
import { replayRecorded, replayText } from "./recorded.ts";
import { withStateDatabase } from "./state-database.ts";

const HELP = `Usage: tidewire plan --config FILE [--against FILE] [--admin URL] [options]

Prints the effect of an edit of the rules before you save it: the rules that change and whether they show more or
less, how many live subscriptions would gain, lose or end, and a sample of their users. It applies nothing. It reads
only the rules and limits of the configuration.

Options:
  -c, --config FILE    the edited configuration
      --against FILE   the current rules (default config/tidewire.yaml, unless --admin is given)
      --admin URL      a running node, by its admin listener: compare with its rules, and count its subscriptions.
                       Needs an admin token with the role edit: from TIDEWIRE_ADMIN_TOKEN, or else server.admin.token
                       of --config
      --recorded       also replay the requests that the nodes have recorded (rules.record), with the connection of --config
      --json           print JSON, for machines

Effects on a live subscription:
  unchanged  it sees the same; if its live query is the same, it receives nothing
  gains      it sees more documents or fields, and loses none
  loses      it sees fewer
  changes    it sees more of some and fewer of others, or the rules alone do not show which
  ends       no rule allows it any more
  unknown    it depends on a lookup that the node has not read yet

The counts describe possible access, not existing documents. With several nodes, ask each for its own clients.

Examples:
  tidewire plan --config new.yaml
  tidewire plan --config new.yaml --against deploy/tidewire.yaml
  tidewire plan --config new.yaml --admin http://127.0.0.1:8481

Exit codes: 0 the plan was printed, 1 the edit has a mistake or the node does not answer, 2 the command line is
invalid.`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      config: { type: "string", short: "c" },
      against: { type: "string" },
      admin: { type: "string" },
      recorded: { type: "boolean" },
      json: { type: "boolean" },
    },
  });
  if (values.config === undefined) throw new UsageError("--config is needed: the edited configuration");
  const url = values.admin === undefined ? undefined : adminUrl(values.admin);
  const { source: edited, adminToken } = await loadRules(values.config, io.env);
  const against = values.against ?? (url === undefined ? DEFAULT_CONFIG : undefined);
  const ofFiles =
    against === undefined ? undefined : diffRules((await loadRules(against, io.env)).source, edited);
  const answer =
    url === undefined ? undefined : await askForPlan({ url, token: adminTokenOf(io, adminToken) }, edited);
  if (answer !== undefined && "problems" in answer) {
    for (const { path, message } of answer.problems) io.err(`${values.config}: ${path}: ${message}`);
    return 1;
  }
  const replay = values.recorded
    ? await replayOver(values.config, values.against ?? DEFAULT_CONFIG, edited, io)
    : undefined;
  // Between two files more can be shown; the node does not give away the rules that it has.
  const diff = ofFiles ?? answer?.diff;
  if (values.json)
    io.out(
      JSON.stringify({ ...answer, diff, ...(replay === undefined ? {} : { recorded: replay }) }, null, 2),
    );
  else {
    if (diff !== undefined) io.out(diffText(diff));
    if (answer !== undefined) io.out(`\n${liveText(answer)}`);
    if (replay !== undefined) io.out(`\n${replay === null ? NOTHING_RECORDED : replayText(replay)}`);
  }
  return 0;
}

const NOTHING_RECORDED = "recorded: nothing. Set rules.record, for example to 7d, and restart the nodes";

/** Replays recorded requests under the current and the edited rules. */
async function replayOver(file: string, against: string, edited: RulesSource, io: Io) {
  const inForce = compileRules((await loadRules(against, io.env)).source);
  const config = await loadConfig(file, io.env);
  return withStateDatabase(config, (_client, database) =>
    replayRecorded(new RequestStore(database), inForce, compileRules(edited), io.now()),
  );
}

/** `tidewire plan`: the effect of an edit before it is saved. */
export const plan: Command = { help: HELP, run };
