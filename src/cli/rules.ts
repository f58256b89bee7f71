import { parseArgs } from "node:util";
import { parseDuration } from "../config/units.ts";
import type { Io } from "../terminal/io.ts";
import { type AdminNode, adminTokenOf, adminUrl } from "./ask-node.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";
import { diffSets } from "./rules/diff-sets.ts";
import { pullFromNode, pushAtNode, revertAtNode } from "./rules/edit-at-node.ts";
import { logSets } from "./rules/log-sets.ts";
import { pullSet } from "./rules/pull-set.ts";
import { type EditSettings, pushFile, revertTo } from "./rules/push-set.ts";
import { diffAtNode, logAtNode } from "./rules/read-at-node.ts";
import { userName } from "./user-name.ts";

const HELP = `Usage: tidewire rules push FILE -m TEXT [options]
       tidewire rules pull [FILE] [--force]
       tidewire rules log [--limit N] [--json]
       tidewire rules diff A [B]
       tidewire rules revert N [-m TEXT] [options]

Edits rules that are in the database (rules.from: database). Each edit is a rule set with a number, which never changes.
The commands write to the state database (mongodb.stateDatabase) with the configuration's own connection; no node has to run.
With --admin URL, a running node does it, and neither the configuration nor access to MongoDB is needed.
Nodes follow through their change streams, and all of them apply an edit at the same commit. The audit keeps who did it.

  push    Puts the collections of FILE in force, with its rule tests: those in FILE, or else every *.test.yaml beside it. Refuses
          a mistake, a failing test, and a FILE that does not start from the set in force. Environment variables are filled in.
          FILE may be a configuration: its other sections are ignored.
  pull    Writes the set in force to FILE (default rules.yaml; - for standard output), to be edited and pushed. "parent" in it
          names the set from which the edit starts.
  log     Lists the sets, latest first.
  diff    Shows how set B differs from set A. Without B: how the set in force differs from A.
  revert  Puts the content of set N in force again, as a new set.

Options:
  -m, --message TEXT  the reason of the edit, for the log
      --author NAME   default: your user name on this machine
      --dry-run       check, test and show the effect; apply nothing
      --admin URL     do it through this node, by its admin listener. For push and revert the node also counts the live
                      subscriptions that the edit affects. Needs an admin token in TIDEWIRE_ADMIN_TOKEN with the role
                      edit (view for pull, log and diff); its holder is the author
      --wait DURATION how long to wait until every running node has applied the edit (default 30s; 0s: not at all)
      --force         overwrite FILE, whatever it contains
      --limit N       how many sets (default 20)
      --json          print JSON, for machines
  -c, --config FILE   the configuration of the nodes (default config/tidewire.yaml)

To move the rules of a configuration to the database: push the file, set rules.from to database in it, remove its section
collections, and restart the nodes. To move them back: pull, copy collections into the configuration, and set rules.from to file.
With mongodb.uri "embedded", stop the service first: its mongod runs only with it.

Examples:
  tidewire rules push config/tidewire.yaml -m "the rules so far"
  tidewire rules pull rules.yaml
  tidewire rules push rules.yaml -m "managers see margins" --dry-run
  tidewire rules push rules.yaml -m "managers see margins"
  tidewire rules log
  tidewire rules diff 4 5
  tidewire rules revert 4 -m "margins were wrong"
  tidewire rules push rules.yaml -m "managers see margins" --admin http://127.0.0.1:8481
  tidewire rules log --admin http://127.0.0.1:8481

Exit codes: 0 done, 1 nothing was applied, or a node does not follow, 2 the command line is invalid.`;

const OPTIONS = {
  ...CONFIG_FLAG,
  message: { type: "string", short: "m" },
  author: { type: "string" },
  "dry-run": { type: "boolean", default: false },
  admin: { type: "string" },
  wait: { type: "string", default: "30s" },
  force: { type: "boolean", default: false },
  limit: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

const MESSAGE_MAX = 1_000;
const AUTHOR_MAX = 100;
const WAIT_MS_MAX = 60 * 60_000;
const SETS_LISTED = 20;

type Values = ReturnType<typeof parse>["values"];
const parse = (args: readonly string[]) =>
  parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });

/** The options of each command besides --config; any other is a mistake. */
const ALLOWED: Readonly<Record<string, readonly (keyof Values)[]>> = {
  push: ["message", "author", "dry-run", "admin", "wait"],
  revert: ["message", "author", "dry-run", "admin", "wait"],
  pull: ["force", "admin"],
  log: ["limit", "json", "admin"],
  diff: ["json", "admin"],
};

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parse(args);
  const [name = "", ...operands] = positionals;
  const allowed = ALLOWED[name];
  if (allowed === undefined)
    throw new UsageError(
      `${name === "" ? "say what to do" : `there is no rules ${JSON.stringify(name)}`}: push, pull, log, diff or revert`,
    );
  refuseOthers(name, args, allowed);
  const at = { configPath: values.config, io };
  const node = nodeOf(values, io);
  if (name === "push") {
    const [file = ""] = operandsOf(name, operands, ["FILE"]);
    const edit = editOf(values, "apply-rules", null);
    return node === null ? pushFile(file, edit, at) : pushAtNode(node, file, edit, io);
  }
  if (name === "revert") {
    const [number = 0] = numbersOf(name, operands, ["N"]);
    const edit = editOf(values, "revert-rules", `Revert to rule set ${number}`);
    return node === null ? revertTo(number, edit, at) : revertAtNode(node, number, edit, io);
  }
  if (name === "pull") {
    const [file = "rules.yaml"] = operandsOf(name, operands, [], ["FILE"]);
    return node === null ? pullSet(file, values.force, at) : pullFromNode(node, file, values.force, io);
  }
  if (name === "log") {
    operandsOf(name, operands, []);
    const most = values.limit === undefined ? SETS_LISTED : numberOf(values.limit, "--limit");
    return node === null ? logSets(most, values.json, at) : logAtNode(node, most, values.json, io);
  }
  const [from = 0, to = null] = numbersOf(name, operands, ["A"], ["B"]);
  return node === null ? diffSets(from, to, values.json, at) : diffAtNode(node, from, to, values.json, io);
}

/** The node that does it; `null` if the command works on the database itself. */
function nodeOf({ admin, author }: Values, io: Io): AdminNode | null {
  if (admin === undefined) return null;
  if (author !== undefined)
    throw new UsageError("with --admin the author is the holder of the token: leave --author out");
  return { url: adminUrl(admin), token: adminTokenOf(io, "") };
}

function refuseOthers(name: string, args: readonly string[], allowed: readonly string[]): void {
  const given = parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS, tokens: true }).tokens;
  for (const token of given) {
    if (token.kind !== "option" || token.name === "config" || allowed.includes(token.name)) continue;
    throw new UsageError(`rules ${name} has no --${token.name}`);
  }
}

/** The settings of an edit. @param fallback The message if none is given; `null` if one is needed. */
function editOf(values: Values, act: EditSettings["act"], fallback: string | null): EditSettings {
  const message = (values.message ?? fallback ?? "").trim();
  if (message === "") {
    if (!values["dry-run"])
      throw new UsageError('-m is needed: the reason of the edit, such as -m "managers see margins"');
  } else if (message.length > MESSAGE_MAX) throw new UsageError(`-m takes at most ${MESSAGE_MAX} characters`);
  const author = (values.author ?? userName()).trim();
  if (author === "" || author.length > AUTHOR_MAX)
    throw new UsageError(`--author takes a name of at most ${AUTHOR_MAX} characters`);
  const waitMs = parseDuration(values.wait);
  if (waitMs === undefined || waitMs > WAIT_MS_MAX)
    throw new UsageError("--wait takes a duration of at most 1h: --wait 30s");
  return { act, message, author, isDryRun: values["dry-run"], waitMs };
}

function operandsOf(
  name: string,
  operands: readonly string[],
  needed: readonly string[],
  optional: readonly string[] = [],
): readonly string[] {
  const missing = needed[operands.length];
  if (missing !== undefined)
    throw new UsageError(`rules ${name} needs ${missing}: tidewire rules ${name} ${needed.join(" ")}`);
  const tooMany = operands[needed.length + optional.length];
  if (tooMany !== undefined) throw new UsageError(`rules ${name} does not take ${JSON.stringify(tooMany)}`);
  return operands;
}

const numbersOf = (...args: Parameters<typeof operandsOf>): number[] =>
  operandsOf(...args).map((text) => numberOf(text, `rules ${args[0]}`));

function numberOf(text: string, where: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(
    `${where} takes a number, not ${JSON.stringify(text)}; tidewire rules log lists the sets`,
  );
}

/** `tidewire rules`: edits rules that are in the database. */
export const rules: Command = { help: HELP, run };
