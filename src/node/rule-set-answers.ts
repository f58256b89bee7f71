import type { Answers } from "../admin/questions.ts";
import type { RuleSetQuestions, RulesInForce, SetSummary } from "../admin/rule-set-questions.ts";
import type { Config } from "../config/config.ts";
import { judgeAside } from "../config/draft-judge.ts";
import { ruleSetText, termsOf } from "../config/rule-set.ts";
import { planToKeep, tooLarge } from "../config/rule-set-draft.ts";
import { rulesText } from "../config/rules-file.ts";
import { diffSetsAside } from "../config/sets-diff.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { NodeRulesStore } from "../source/node-rules-store.ts";
import { RequestStore } from "../source/request-store.ts";
import { RuleSetStore, type RuleSetSummary } from "../source/rule-set-store.ts";
import type { RuleEdits } from "./rule-edits.ts";
import type { SharedState } from "./shared-state.ts";

/** How many edits by others one answer lists. */
const SINCE_MAX = 20;

type RuleSetAnswers = Pick<Answers, keyof RuleSetQuestions>;

/** Answers the questions of admins about the rules in force, about saved sets, and about drafts. */
export function ruleSetAnswers(
  config: Config,
  { database, answer }: Pick<SharedState, "database" | "answer">,
  edits: RuleEdits,
): RuleSetAnswers {
  const sets = new RuleSetStore(database);
  const nodes = new NodeRulesStore(database);
  const requests = new RequestStore(database);
  const { planTimeoutMs } = config.server.admin;
  const load = (number: number) => answer(() => sets.load(number));
  const judge = (draft: { readonly text: string; readonly tests: string | null }) => {
    const { anonymous } = edits.config.auth;
    return judgeAside(
      { ...draft, terms: termsOf(edits.config), anonymous, nowMs: Date.now() },
      planTimeoutMs,
    );
  };
  return {
    ...storedSets(sets, answer, config.rules.setsKept),
    rules: () => rulesInForce(edits, sets, answer),
    rulesState: async ({ since }) => {
      const list = await answer(() => sets.summaries(SINCE_MAX, null));
      const later = list.filter(({ number }) => number > since);
      return { from: edits.config.rules.from, inForce: list[0]?.number ?? 0, since: later.map(summaryOf) };
    },
    diffRuleSets: async ({ from, to }) => {
      const [before, after] = [await load(from), await load(to)];
      if (before === null || after === null) return null;
      const compared = { from: before, to: after, terms: termsOf(edits.config) };
      const diff = await diffSetsAside(compared, planTimeoutMs);
      return "unreadable" in diff ? diff : { ...diff, isSameTests: before.tests === after.tests };
    },
    acknowledgements: async () => {
      const live = await answer(() => nodes.live());
      return live.map(({ name, acknowledgedAtMs, ...rest }) => ({
        node: name,
        atMs: acknowledgedAtMs,
        ...rest,
      }));
    },
    testRules: async (draft) => {
      const judged = await judge(draft);
      return "problems" in judged ? judged : judged.outcome;
    },
    judgeSet: async (draft) => {
      const judged = await judge(draft);
      const size = "problems" in judged ? null : tooLarge(judged.text, config.rules.setBytes);
      return size === null ? judged : { problems: [{ line: 1, column: 1, path: "", message: size }] };
    },
    replayRequests: async (text) => {
      const nowMs = Date.now();
      const texts = await answer(() => requests.all(nowMs));
      return texts.length === 0 ? null : edits.replay(text, texts, nowMs);
    },
  };
}

/** The answers that only read or write saved sets. */
function storedSets(
  sets: RuleSetStore,
  answer: SharedState["answer"],
  setsKept: number,
): Pick<RuleSetAnswers, "ruleHistory" | "ruleSet" | "pushSet"> {
  return {
    ruleHistory: async ({ limit, before }) =>
      (await answer(() => sets.summaries(limit, before))).map(summaryOf),
    ruleSet: async (number) => {
      const set = await answer(() => sets.load(number));
      if (set === null) return null;
      const { collections, tests, plan } = set;
      return { ...summaryOf(set), text: ruleSetText(collections), tests, plan };
    },
    pushSet: async ({ text, atMs, plan, ...set }) => {
      const draft = { ...set, ...text, at: new Date(atMs), plan: planToKeep(plan) };
      try {
        return await sets.push(draft, setsKept, answer);
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        return { number: null, outcome: "unsaved" };
      }
    },
  };
}

const summaryOf = ({ number, author, message, at, parent, testResult }: RuleSetSummary): SetSummary => ({
  number,
  author,
  message,
  atMs: at.getTime(),
  parent,
  testResult,
});

/** The rules of a file as text, by their configuration. Writing a large file takes the time of many changes. */
const fileTexts = new WeakMap<Config, string>();

function fileText(config: Config): string {
  const text = fileTexts.get(config) ?? rulesText(config);
  fileTexts.set(config, text);
  return text;
}

/** A set keeps the comments of its author. Rules of the file are written again, without its other sections. */
async function rulesInForce(
  edits: RuleEdits,
  sets: RuleSetStore,
  answer: SharedState["answer"],
): Promise<RulesInForce> {
  const { generation, config } = edits;
  const { from } = config.rules;
  if (from === "file") return { generation, from, text: fileText(config), tests: "", parent: null };
  // The set in force in the database, even if this node has not applied it yet: an edit has to start from it.
  const set = await answer(async () => {
    const { set: number } = (await sets.inForce()) ?? { set: generation };
    return sets.load(number);
  });
  if (set === null) throw new Error("the rule set in force has been removed from the database");
  return { generation, from, text: ruleSetText(set.collections), tests: set.tests, parent: set.number };
}
