import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { formatProblem, readConfigFile } from "../../config/config.ts";
import { readConfigText } from "../../config/config-text.ts";
import { ruleSetText, termsOf } from "../../config/rule-set.ts";
import { type Draft, judgeDraft, planToKeep, type TextFile, tooLarge } from "../../config/rule-set-draft.ts";
import { warningsOf } from "../../config/warnings.ts";
import { compileRules, type RulesSource } from "../../rules/compile-rules.ts";
import { diffRules, isSameRules } from "../../rules/diff-rules.ts";
import type { SavedRuleSet } from "../../source/rule-set-store.ts";
import { StartupError } from "../../source/startup-error.ts";
import type { Io } from "../../terminal/io.ts";
import { diffText } from "../plan-text.ts";
import { replayRecorded, replayText } from "../recorded.ts";
import { failureText } from "../rule-test-text.ts";
import { placed, testsBeside } from "../run-rule-tests.ts";
import { userName } from "../user-name.ts";
import { awaitNodes } from "./acknowledgements.ts";
import { noteParent } from "./note-parent.ts";
import {
  type At,
  firstLine,
  loadSet,
  nameOfSet,
  type RulesDatabase,
  sourceOf,
  withRuleSets,
} from "./rules-database.ts";

/** How an edit is made. */
export interface EditSettings {
  /** The act in the audit. */
  readonly act: "apply-rules" | "revert-rules";
  readonly message: string;
  readonly author: string;
  readonly isDryRun: boolean;
  readonly waitMs: number;
}

/** Also printed if the whole command runs out of time. */
export const UNCONFIRMED =
  "The edit may be in force, or may still come into force, or never will: tidewire rules log shows the set in force. To repeat " +
  "the command does no harm, because an edit is never applied twice";

const NOT_USED =
  "note: nodes of this configuration still read their rules from the file. Set rules.from to database in it, remove its " +
  "section collections, and restart them";

/** `tidewire rules push`: puts the collections of a file in force. */
export async function pushFile(file: string, edit: EditSettings, at: At): Promise<number> {
  const text = await readConfigFile(file);
  const given = { file, text };
  const beside = await Promise.all((await testsBeside(file)).map(readTextFile));
  return withRuleSets(
    at,
    async (database) => {
      const draft = judge(given, beside, database, at.io);
      if (draft === null) return 1;
      const base = await parentOf(draft, file, database);
      const number = await apply(draft, base, edit, database, at.io);
      if (number === null) return 1;
      if (number === 0) return 0;
      if (base !== null) await noteParent(given, base.number, number, at.io);
      if (!database.isUsed) at.io.err(NOT_USED);
      return (await awaitNodes(number, database.nodes, at.io, edit.waitMs)) ? 0 : 1;
    },
    edit.waitMs,
  );
}

/** `tidewire rules revert`: puts the content of an earlier set in force again. */
export async function revertTo(number: number, edit: EditSettings, at: At): Promise<number> {
  return withRuleSets(
    at,
    async (database) => {
      const set = await loadSet(database, number);
      const inForce = await database.sets.inForce();
      const base = inForce === null ? null : await database.sets.load(inForce.set);
      const text = ruleSetText(set.collections);
      const tests = set.tests === "" ? [] : [{ file: `tests of rule set ${number}`, text: set.tests }];
      const draft = judge({ file: `rule set ${number}`, text }, tests, database, { ...at.io, env: {} });
      if (draft === null) return 1;
      const next = await apply(draft, base, edit, database, at.io);
      if (next === null || next === 0) return next === null ? 1 : 0;
      return (await awaitNodes(next, database.nodes, at.io, edit.waitMs)) ? 0 : 1;
    },
    edit.waitMs,
  );
}

const readTextFile = async (file: string): Promise<TextFile> => ({
  file,
  text: await readFile(file, "utf8"),
});

/** The draft, if it is valid, fits, and its tests hold. Otherwise `null`, and the reasons are printed. */
function judge(given: TextFile, tests: readonly TextFile[], { config }: RulesDatabase, io: Io): Draft | null {
  const judged = judgeDraft(given, tests, {
    terms: termsOf(config),
    anonymous: config.auth.anonymous,
    env: io.env,
    nowMs: io.now(),
  });
  const refuse = (why: string) => {
    io.err(`nothing was applied: ${why}`);
    return null;
  };
  if (!judged.ok) {
    for (const problem of judged.problems) io.err(formatProblem(problem));
    return refuse(`${given.file} has mistakes`);
  }
  const { draft } = judged;
  for (const warning of warningsOf(readConfigText(given.text, given.file, io.env)))
    io.err(`warning: ${formatProblem(warning)}`);
  const size = tooLarge(draft.text, config.rules.setBytes);
  if (size !== null) return refuse(size);
  if (draft.failed > 0) {
    for (const { failure, source } of draft.failures) io.err(`${failureText(placed(failure, source))}\n`);
    return refuse(
      `${draft.failed} of ${draft.tests} rule tests fail. Correct the rules, or the tests if the edit means it`,
    );
  }
  io.out(
    draft.tests === 0
      ? "no rule tests: tidewire help test-rules shows how to write some"
      : `tests: ${draft.tests} passed`,
  );
  return draft;
}

/**
 * The set from which the draft starts, which must be the one in force; `null` if there is none.
 * @throws {StartupError} It is another one, so that the push would undo an edit.
 */
async function parentOf(
  { parent }: Draft,
  file: string,
  database: RulesDatabase,
): Promise<SavedRuleSet | null> {
  const inForce = await database.sets.inForce();
  if (inForce === null) {
    if (parent === null || parent === 0) return null;
    throw new StartupError(
      `${file} starts from rule set ${parent}, and no rule set is in force here: is --config that of the right deployment? To begin, remove parent from the file`,
    );
  }
  const set = await loadSet(database, inForce.set);
  if (parent === inForce.set) return set;
  const pull = "tidewire rules pull writes it to a file: make your edit there, and push that";
  if (parent === null)
    throw new StartupError(`${file} has no parent, and ${nameOfSet(set)} is in force. ${pull}`);
  throw new StartupError(
    `${file} starts from rule set ${parent}, and ${nameOfSet(set)} came into force since. ` +
      `tidewire rules diff ${parent} ${set.number} shows the other edit. ${pull}`,
  );
}

/**
 * Shows the effect of a draft, and applies it.
 * @returns The number of the new set; 0 if there was nothing to apply; `null` if it could not be applied.
 */
async function apply(
  draft: Draft,
  base: SavedRuleSet | null,
  edit: EditSettings,
  database: RulesDatabase,
  io: Io,
): Promise<number | null> {
  const { config, requests } = database;
  const next: RulesSource = { ...config, collections: draft.collections };
  const diff = diffFrom(base, next, config, io);
  if (base !== null && diff !== null && isSameRules(diff) && draft.text.tests === base.tests) {
    io.out(`rule set ${base.number} has these rules and tests already: nothing was applied`);
    return 0;
  }
  if (base === null) io.out("this is the first rule set");
  if (diff !== null) io.out(diffText(diff));
  if (base !== null && diff !== null) {
    const inForce = compileRules(sourceOf(base, config));
    const replay = await replayRecorded(requests, inForce, draft.rules, io.now());
    if (replay !== null) io.out(`\n${replayText(replay)}`);
  }
  if (edit.isDryRun) {
    io.out("nothing was applied (--dry-run)");
    return 0;
  }
  const number = await save(draft, base?.number ?? 0, planToKeep({ diff, live: null }), edit, database, io);
  if (number !== null) io.out(`rule set ${number} is in force`);
  return number;
}

/** Saves a draft and puts it in force. @returns Its number; `null` if it is not in force, or nobody knows. */
async function save(
  { tests, failed, text }: Draft,
  parent: number,
  plan: unknown,
  edit: EditSettings,
  { config, sets, audit, acting, answer }: RulesDatabase,
  io: Io,
): Promise<number | null> {
  const { author, message } = edit;
  const target = { parent, author, message: firstLine(message) };
  const admin = `command line: ${userName()}`;
  await audit.add({ admin, act: edit.act, target, from: hostname() }, io.now());
  const testResult = tests === 0 ? null : { tests, failed };
  const set = { ...text, author, message, at: new Date(io.now()), parent, plan, testResult };
  acting(UNCONFIRMED);
  const { number, outcome } = await sets.push(set, config.rules.setsKept, answer).finally(() => acting(null));
  if (outcome === "applied") return number;
  io.err(
    outcome === "unconfirmed"
      ? `rule set ${number} is not confirmed: MongoDB did not answer in time. ${UNCONFIRMED}`
      : "nothing was applied: another rule set came into force just now. tidewire rules log shows it; pull it, and make your edit there",
  );
  return null;
}

/** `null` if there is nothing to compare with. A set that this version cannot read must not prevent its correction. */
function diffFrom(base: SavedRuleSet | null, next: RulesSource, config: RulesDatabase["config"], io: Io) {
  if (base === null) return null;
  try {
    return diffRules(sourceOf(base, config), next);
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    io.err(`warning: the effect is not shown: ${error.message}`);
    return null;
  }
}
