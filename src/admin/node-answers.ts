import type { Gateway } from "../gateway/gateway.ts";
import type { AuditStore } from "../source/audit-store.ts";
import type { NodeStatus, NodeStatusStore } from "../source/node-status-store.ts";
import type { PushStore, SavedRegistration } from "../source/push-store.ts";
import { type Revocation, type RevocationStore, revocationBytes } from "../source/revocation-store.ts";
import { connectionAnswers, identityOf } from "./connection-answers.ts";
import { liveQueryAnswers, type PlanQuery } from "./live-query-answers.ts";
import { type NameParts, nameAnswers } from "./names/name-answers.ts";
import { overviewAnswers } from "./overview-answers.ts";
import type { Answers, Ask, NotRevoked, PushRow } from "./questions.ts";
import type { LoadSamples } from "./rates.ts";
import type { RuleSetQuestions } from "./rule-set-questions.ts";
import type { SinkQuestions } from "./sink-questions.ts";
import { traceAnswers } from "./trace/trace-answers.ts";
import type { Traces } from "./trace/traces.ts";
import { type TryParts, tryAnswers } from "./try-answers.ts";

/** The parts of a node from which the questions of admins are answered. */
export interface NodeAnswersParts extends Omit<TryParts, "identityOf">, Pick<NameParts, "sample" | "stored"> {
  readonly names: { readonly node: string; readonly id: string };
  readonly gateway: Gateway;
  readonly traces: Traces;
  /** The answers about rule sets, and about drafts of the rules. */
  readonly ruleSets: Pick<Answers, keyof RuleSetQuestions>;
  readonly sinks: Pick<Answers, keyof SinkQuestions>;
  readonly plan: PlanQuery;
  readonly status: () => Promise<NodeStatus>;
  readonly samples: LoadSamples;
  readonly fleet: Pick<NodeStatusStore, "all">;
  readonly audit: AuditStore;
  readonly pushes: Pick<PushStore, "page" | "remove">;
  readonly revocations: RevocationStore;
  /** Why a revocation would have no effect on this node; `null` if it would have one. */
  readonly whyNotFollowed: string | null;
  readonly revocationBytesMax: number;
  /** Waits for an answer of the state database for a limited time. */
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
}

/** Answers the questions of admins about one node. */
export function nodeAnswers(parts: NodeAnswersParts): Ask {
  const { names, gateway, feed, plan, status, samples, fleet, audit, answer } = parts;
  const answers: Answers = {
    ...connectionAnswers(gateway, names),
    ...liveQueryAnswers(feed, names, plan),
    ...overviewAnswers(status, samples, fleet, answer),
    addAudit: async (entry) => {
      await answer(() => audit.add(entry, Date.now()));
      return null;
    },
    audit: (page) => answer(() => audit.list(page)),
    ...parts.ruleSets,
    ...parts.sinks,
    ...tryAnswers({ ...parts, identityOf: (id) => identityOf(gateway, names, id) }),
    ...nameAnswers(parts),
    ...traceAnswers(parts),
    ...pushAnswers(parts),
    ...revocationAnswers(parts),
  };
  return async (question, value) => answers[question](value);
}

function pushAnswers({ pushes, answer }: NodeAnswersParts): Pick<Answers, "pushes" | "removePush"> {
  return {
    pushes: async (page) => (await answer(() => pushes.page(page, Date.now()))).map(pushRowOf),
    removePush: (id) => answer(() => pushes.remove(null, id)),
  };
}

const pushRowOf = ({ request, identity, pending, ...rest }: SavedRegistration): PushRow => ({
  id: rest.id,
  sub: identity.sub,
  collection: request.collection,
  on: request.on,
  pushService: new URL(request.endpoint).host,
  createdAtMs: rest.createdAtMs,
  expiresAtMs: rest.expiresAtMs,
  suspended: rest.suspended,
  attempts: pending?.attempts ?? null,
});

function revocationAnswers({
  revocations,
  whyNotFollowed,
  revocationBytesMax,
  answer,
}: NodeAnswersParts): Pick<Answers, "revocations" | "checkRevocation" | "revoke" | "undoRevocation"> {
  const check = async (revocation: Revocation): Promise<NotRevoked | null> => {
    if (whyNotFollowed !== null) return { refused: whyNotFollowed };
    const bytes = await answer(() => revocations.bytes(Date.now()));
    if (bytes + revocationBytes(revocation) <= revocationBytesMax) return null;
    const text = `the revocations in force would take more than auth.revocationBytes (${revocationBytesMax} bytes), and no node would accept a token. Undo some first`;
    return { refused: text };
  };
  return {
    revocations: (page) => answer(() => revocations.page(page, Date.now())),
    checkRevocation: check,
    revoke: async (revocation) => {
      await answer(() => revocations.revoke(revocation));
      await answer(() => revocations.cleanUp(Date.now())).catch(() => {}); // only to save space: nodes ignore expired ones
      return null;
    },
    undoRevocation: (which) => answer(() => revocations.undo(which)),
  };
}
