/** `tidewire rules push|revert|pull --admin URL`: a running node edits the rules, so that no access to MongoDB is needed. */
import { access, writeFile } from "node:fs/promises";
import { z } from "zod";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { formatProblem, readConfigFile } from "../../config/config.ts";
import { type ConfigText, readConfigText } from "../../config/config-text.ts";
import { sectionOf } from "../../config/examine.ts";
import { ruleSetText } from "../../config/rule-set.ts";
import { collectionsText, joinTests, testsText } from "../../config/rule-set-text.ts";
import { loadRuleTests } from "../../config/rule-tests.ts";
import { parseUntrusted } from "../../protocol/parse-untrusted.ts";
import type { LiveNode } from "../../source/node-rules-store.ts";
import { StartupError } from "../../source/startup-error.ts";
import type { Io } from "../../terminal/io.ts";
import { type AdminNode, askNode, unexpected } from "../ask-node.ts";
import { diffText, liveText } from "../plan-text.ts";
import { replayText } from "../recorded.ts";
import { testsBeside } from "../run-rule-tests.ts";
import { awaitNodes } from "./acknowledgements.ts";
import { noteParent } from "./note-parent.ts";
import { UNCONFIRMED } from "./push-set.ts";
import { firstLine } from "./rules-database.ts";

/** How an edit is made at a node. Its author is the admin whose token it is. */
export interface NodeEdit {
  readonly message: string;
  readonly isDryRun: boolean;
  readonly waitMs: number;
}

type Edited = AnswerOf<"applyRules">;

/** Puts the collections of a file in force. @returns The exit code. */
export async function pushAtNode(node: AdminNode, file: string, edit: NodeEdit, io: Io): Promise<number> {
  const text = await readConfigFile(file);
  const source = readConfigText(text, file, io.env);
  const tests = await testsOf(source, text, file, io);
  if (tests === null) return 1;
  const given = sectionOf(source.value, "parent");
  const parent = typeof given === "number" ? given : 0;
  const json = {
    text: ruleSetText(collectionsText(text, source.value)),
    tests: tests === "" ? null : tests,
    parent,
    ...fieldsOf(edit),
  };
  const set = await ask(node, "/rules/apply", json, file, io);
  if (set === null) return 1;
  if (set === 0) return 0;
  await noteParent({ file, text }, parent, set, io);
  return follow(node, set, edit, io);
}

/** Puts the content of an earlier set in force again. @returns The exit code. */
export async function revertAtNode(node: AdminNode, number: number, edit: NodeEdit, io: Io): Promise<number> {
  const { parent } = await inForce(node);
  const json = { number, parent, ...fieldsOf(edit) };
  const set = await ask(node, "/rules/revert", json, `rule set ${number}`, io);
  if (set === null) return 1;
  return set === 0 ? 0 : follow(node, set, edit, io);
}

/** Writes the set in force to a file. @returns The exit code. */
export async function pullFromNode(
  node: AdminNode,
  file: string,
  isForced: boolean,
  io: Io,
): Promise<number> {
  const { parent, text, tests } = await inForce(node);
  const written = `# Rule set ${parent}. An edit starts from the set under parent.\nparent: ${parent}\n${text}${tests}`;
  if (file === "-") {
    io.out(written.trimEnd());
    return 0;
  }
  if (!isForced && (await exists(file)))
    throw new StartupError(`${file} exists. Name another file, or overwrite it with --force`);
  await writeFile(file, written);
  io.out(`${file} has rule set ${parent}. Edit it, and apply it with: tidewire rules push ${file} -m TEXT`);
  return 0;
}

const exists = (file: string) =>
  access(file).then(
    () => true,
    () => false, // there is none, or writing it reports the fault
  );

const fieldsOf = ({ message, isDryRun }: NodeEdit) =>
  isDryRun ? { dryRun: true } : { message, dryRun: false };

/** The tests in the file, or else those beside it; `null` if they or the file have mistakes, which are printed. */
async function testsOf(source: ConfigText, text: string, file: string, io: Io): Promise<string | null> {
  const problems = source.problems.filter(({ path }) => SET_PATH.test(path));
  const own = testsText(text, source.value);
  const beside = own === "" ? await testsBeside(file) : [];
  const values = [];
  for (const name of beside) {
    const read = await loadRuleTests(name, io.env, null);
    if (read.ok) values.push(read.tests);
    else problems.push(...read.problems);
  }
  for (const problem of problems) io.err(formatProblem(problem));
  if (problems.length > 0) {
    io.err(`nothing was applied: ${file} or its tests have mistakes`);
    return null;
  }
  return values.length === 0 ? own : joinTests(values);
}

/** The node judges the rest. Other sections of the file may name variables that are not set here. */
const SET_PATH = /^(?:$|(?:parent|collections|now|given|tests)\b)/;

/**
 * Asks for an edit, and prints its effect.
 * @returns The number of the new set; 0 if there was nothing to apply; `null` if it was refused.
 */
async function ask(
  node: AdminNode,
  path: string,
  json: object,
  name: string,
  io: Io,
): Promise<number | null> {
  const isAct = !("dryRun" in json && json.dryRun === true);
  const answer = await askNode(node, "POST", path, { json }, isAct ? UNCONFIRMED : null);
  const body = answer.body as unknown as Edited; // as the endpoint answers, if the status is one of these
  const refuse = (why: string) => {
    io.err(`nothing was applied: ${why}`);
    return null;
  };
  if (answer.status === 409 && "conflict" in body) {
    const { text, since } = body.conflict;
    for (const { number, author, at, message } of since)
      io.err(`rule set ${number}  ${at}  ${author}  ${firstLine(message)}`);
    io.err(`${text}: tidewire rules pull writes it to a file`);
    return null;
  }
  if ("unconfirmed" in body) {
    io.err(
      `rule set ${body.unconfirmed.set} is not confirmed: MongoDB did not answer in time. ${UNCONFIRMED}`,
    );
    return null;
  }
  if (answer.status === 409)
    return refuse(String(answer.body["error"]).replace(/^nothing was applied: /, ""));
  if (answer.status === 404 && answer.body["code"] === "no-rule-set")
    return refuse(String(answer.body["error"]));
  if (answer.status === 422 && "problems" in body) {
    for (const { path: at, message } of body.problems)
      io.err(`${name}: ${at === "" ? "" : `${at}: `}${message}`);
    return refuse(`${name} has mistakes`);
  }
  if (answer.status === 422 && "failures" in body) {
    for (const { test, expected, found, because } of body.failures)
      io.err(
        `${test}\n  expected ${expected}\n  found    ${found}${because === null ? "" : `, as ${because}`}\n`,
      );
    return refuse(
      `${body.failed} of ${body.tests} rule tests fail. Correct the rules, or the tests if the edit means it`,
    );
  }
  if (answer.status !== 200 || !("applied" in body)) throw unexpected(node, answer);
  print(body, io);
  return body.applied ?? 0;
}

function print(edited: Extract<Edited, { readonly applied: unknown }>, io: Io): void {
  const { applied, isSame, tests, diff, live, replay, generation } = edited;
  io.out(
    tests === 0
      ? "no rule tests: tidewire help test-rules shows how to write some"
      : `tests: ${tests} passed`,
  );
  if (isSame) {
    io.out("the rule set in force has these rules and tests already: nothing was applied");
    return;
  }
  io.out(diffText(diff));
  io.out(`\n${liveText({ generation, diff, live }).replace(/\nnothing was applied$/, "")}`);
  if (replay !== null) io.out(`\n${replayText({ ...replay, samples: replay.samples as never })}`);
  io.out(applied === null ? "nothing was applied (--dry-run)" : `rule set ${applied} is in force`);
}

const InForce = z.object({ text: z.string(), tests: z.string(), parent: z.int().nullable() });

/** @throws {StartupError} The node reads its rules from its file. */
async function inForce(node: AdminNode) {
  const answer = await askNode(node, "GET", "/rules");
  const read = parseUntrusted(InForce, answer.body);
  if (answer.status !== 200 || !read.success) throw unexpected(node, answer);
  const { parent, ...rules } = read.data;
  if (parent !== null) return { ...rules, parent };
  throw new StartupError(
    `${node.url.origin} reads its rules from its configuration file (rules.from: file): edit them there`,
  );
}

/** Waits until every node has acknowledged the set. @returns The exit code. */
async function follow(node: AdminNode, set: number, { waitMs }: NodeEdit, io: Io): Promise<number> {
  const live = async (): Promise<LiveNode[]> => {
    const answer = await askNode(node, "GET", "/rules/nodes");
    if (answer.status !== 200) throw unexpected(node, answer);
    const { nodes } = answer.body as unknown as AnswerOf<"ruleNodes">; // as the endpoint answers
    return nodes.map(({ node: name, at, ...rest }) => ({ name, acknowledgedAtMs: Date.parse(at), ...rest }));
  };
  return (await awaitNodes(set, { live }, io, waitMs)) ? 0 : 1;
}
