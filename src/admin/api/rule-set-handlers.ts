import { isSameRules } from "../../rules/diff-rules.ts";
import type { Replay } from "../../rules/replay-requests.ts";
import type { PlanText } from "../plan-edit.ts";
import type { Processes } from "../questions.ts";
import type { SetContent, SetSummary, TestedDraft } from "../rule-set-questions.ts";
import type { Acts } from "./acts.ts";
import type { DraftAudit } from "./draft-audit.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { AnswerOf, Handlers } from "./endpoints.ts";
import { oneAtATime } from "./one-at-a-time.ts";
import { senderOf } from "./session-handlers.ts";
import { timeOf } from "./times.ts";

type RuleSetHandlers = Pick<
  Handlers,
  "ruleHistory" | "ruleSet" | "ruleSetDiff" | "ruleNodes" | "replay" | "applyRules" | "revertRules"
>;

/** The parts that edits of the rules need. */
interface RuleSetParts {
  readonly processes: Processes;
  readonly acts: Acts;
  readonly audit: DraftAudit;
  /** The effect of an edit on the subscriptions of all processes. */
  readonly plan: PlanText;
}

interface ComparedSets {
  readonly from: number;
  readonly to: number;
}

/** An edit that an admin asks for. */
interface AskedEdit {
  readonly act: "apply-rules" | "revert-rules";
  readonly draft: () => TestedDraft | Promise<TestedDraft>;
  readonly message: string;
  readonly parent: number;
  readonly dryRun: boolean;
}

/** The handlers of rule sets. */
export function ruleSetHandlers(parts: RuleSetParts): RuleSetHandlers {
  const { processes, audit } = parts;
  // Each takes threads and memory.
  const edit = oneAtATime("another edit is being applied", (call: Call, asked: AskedEdit) =>
    editRules(parts, call, asked),
  );
  const replay = oneAtATime("another draft is being replayed", async (call: Call, text: string) => {
    await audit.note(call, "replay-requests");
    return processes.one("replayRequests", text);
  });
  const compare = oneAtATime("other sets are being compared", (_call: Call, asked: ComparedSets) =>
    processes.one("diffRuleSets", asked),
  );
  return {
    ruleHistory: async (_call, { limit, before = null }) => {
      const found = await processes.one("ruleHistory", { limit: limit + 1, before });
      const page = found.slice(0, limit);
      const next = found.length > limit ? (page.at(-1)?.number ?? null) : null;
      return { sets: page.map(rowOf), next };
    },
    ruleSet: async (_call, { number }) => {
      const { text, tests, plan, ...summary } = await loadSet(processes, number);
      return { ...rowOf(summary), text, tests, plan };
    },
    ruleSetDiff: async (call, { number: from, to: asked }) => {
      const to = asked ?? (await processes.one("rulesState", { since: 0 })).inForce;
      const compared = await compare(call, { from, to });
      if (compared === null) throw noSet(`${from} or ${to}`);
      if (!("unreadable" in compared)) return { from, to, ...compared };
      const text = `the sets cannot be compared under this version and this configuration: ${compared.unreadable}`;
      throw new ApiError(409, "unreadable-set", text);
    },
    ruleNodes: async () => {
      const { from, inForce } = await processes.one("rulesState", { since: Number.MAX_SAFE_INTEGER });
      const nodes = await processes.one("acknowledgements", undefined);
      return { from, inForce, nodes: nodes.map(({ atMs, ...node }) => ({ ...node, at: timeOf(atMs) })) };
    },
    replay: async (call, text) => {
      const replayed = await replay(call, text);
      if (replayed === null || !("problems" in replayed))
        return { replay: replayed === null ? null : shown(replayed) };
      call.response.statusCode = 422;
      return replayed;
    },
    applyRules: (call, { text, tests, message = "", ...asked }) =>
      edit(call, { act: "apply-rules", draft: () => ({ text, tests }), message, ...asked }),
    revertRules: (call, { number, message = `Revert to rule set ${number}`, ...asked }) => {
      const draft = async () => {
        const { text, tests } = await loadSet(processes, number);
        return { text, tests: tests === "" ? null : tests };
      };
      return edit(call, { act: "revert-rules", draft, message, ...asked });
    },
  };
}

/** Checks, tests and plans an edit, and puts it in force unless it is a dry run. */
async function editRules(
  { processes, acts, audit, plan }: RuleSetParts,
  call: Call,
  { act, draft, message, parent, dryRun }: AskedEdit,
): Promise<AnswerOf<"applyRules">> {
  const conflict = await conflictWith(processes, parent);
  if (conflict !== null) return answered(call, 409, conflict);
  const asked = await draft();
  const judged = await processes.one("judgeSet", asked);
  if ("problems" in judged) return answered(call, 422, judged);
  const { outcome } = judged;
  if (outcome.failed > 0) return answered(call, 422, outcome);
  // An edit that takes effect has an entry of its own.
  if (dryRun) await audit.note(call, "plan");
  const planned = await plan(asked.text);
  if ("problems" in planned) return answered(call, 422, planned);
  const replayed = await processes.one("replayRequests", asked.text);
  if (replayed !== null && "problems" in replayed) return answered(call, 422, replayed);
  const { generation, diff, live } = planned;
  // The diff says nothing about the parent while this node has other rules in force.
  const base = generation === parent ? await processes.one("ruleSet", parent) : null;
  const isSame = base !== null && isSameRules(diff) && base.tests === judged.text.tests;
  const effect = {
    generation,
    tests: outcome.tests,
    isSame,
    diff,
    live,
    replay: replayed === null ? null : shown(replayed),
  };
  if (dryRun || isSame) return { applied: null, ...effect };
  const author = senderOf(call).admin.name;
  const target = { parent, author, message: firstLine(message) };
  // A set is kept for long, and its plan needs the numbers alone.
  const { affected: _, ...counts } = live;
  const pushed = await acts.run(call, { act, target, ifUnconfirmed: LOOK }, () =>
    processes.one("pushSet", {
      text: judged.text,
      author,
      message,
      atMs: call.nowMs,
      parent,
      plan: { diff, live: counts },
      testResult: outcome.tests === 0 ? null : { tests: outcome.tests, failed: 0 },
    }),
  );
  const { outcome: end, number } = pushed;
  if (end === "unsaved") throw new ApiError(503, "unavailable", UNSAVED);
  if (end === "applied") return { applied: number, ...effect };
  if (end === "unconfirmed")
    return answered(call, 504, { unconfirmed: { set: number, text: unconfirmedText(number) } });
  const lost = await conflictWith(processes, parent);
  if (lost !== null) return answered(call, 409, lost);
  throw new ApiError(503, "unavailable", EARLIER);
}

const UNSAVED =
  "MongoDB does not answer, or refuses this: nothing was applied, and nothing of it will be. Try again later";
const EARLIER =
  "nothing was applied, because another edit from the same set is not confirmed yet: try again in a moment";
const LOOK =
  "Look at the history before you edit the rules again. To repeat this edit does no harm: it is never applied twice";

const unconfirmedText = (set: number) =>
  `rule set ${set} is not confirmed yet: MongoDB did not answer in time, so it may be in force, or may still come into force, ` +
  `or never will. ${LOOK}`;

/** The answer to an edit whose parent is not the set in force; `null` if it is. */
async function conflictWith(processes: Processes, parent: number) {
  const { from, inForce, since } = await processes.one("rulesState", { since: parent });
  if (from === "file") throw new ApiError(409, "rules-in-file", IN_FILE);
  if (inForce === parent) return null;
  const [latest] = since;
  const by =
    latest === undefined
      ? `rule set ${inForce} is in force, and the edit starts from ${parent}: is this the right deployment?`
      : `${latest.author} put rule set ${latest.number} in force at ${timeOf(latest.atMs)}: ${firstLine(latest.message)}`;
  const text = `nothing was applied, because the edit starts from rule set ${parent}. ${by}. Make the edit on the set in force`;
  return { conflict: { text, inForce, since: since.map(rowOf) } };
}

const IN_FILE =
  "the rules of this node are in its configuration file (rules.from: file), so nothing was applied. Save the draft there. To " +
  "edit rules here: push the file with tidewire rules push FILE -m TEXT, set rules.from to database in it, remove its " +
  "section collections, and restart the nodes (docs/rules.md)";

async function loadSet(processes: Processes, number: number): Promise<SetContent> {
  const set = await processes.one("ruleSet", number);
  if (set === null) throw noSet(String(number));
  return set;
}

const noSet = (number: string) =>
  new ApiError(
    404,
    "no-rule-set",
    `there is no rule set ${number}, or it is no longer kept (rules.setsKept)`,
  );

function answered<T>({ response }: Call, status: number, answer: T): T {
  response.statusCode = status;
  return answer;
}

const shown = (replayed: Replay) => ({
  ...replayed,
  samples: replayed.samples.map(({ request, ...sample }) => ({ ...sample, request: { ...request } })),
});

const rowOf = ({ atMs, ...set }: SetSummary) => ({ ...set, at: timeOf(atMs) });

const firstLine = (text: string): string => text.split("\n")[0] ?? "";
