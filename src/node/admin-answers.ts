import { nodeAnswers } from "../admin/node-answers.ts";
import { sampleLoad, statusOf } from "../admin/overview-answers.ts";
import type { Ask } from "../admin/questions.ts";
import type { Readiness } from "../admin/readiness.ts";
import { Traces } from "../admin/trace/traces.ts";
import { namesOf } from "../config/namespaces.ts";
import type { Feed } from "../feed/feed.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { packageVersion } from "../metrics/process-metrics.ts";
import { AuditStore } from "../source/audit-store.ts";
import { collectionNames } from "../source/collection-names.ts";
import type { MongoAccess } from "../source/mongo.ts";
import { PushStore } from "../source/push-store.ts";
import { RevocationStore } from "../source/revocation-store.ts";
import { sampleDocuments } from "../source/sample-documents.ts";
import { SnapshotCursor } from "../source/snapshot-cursor.ts";
import { planSnapshot } from "../source/snapshot-plan.ts";
import type { Basics } from "./basics.ts";
import type { Pipeline } from "./pipeline.ts";
import type { RuleEdits } from "./rule-edits.ts";
import { ruleSetAnswers } from "./rule-set-answers.ts";
import type { SharedState } from "./shared-state.ts";
import { sinkAnswers } from "./sink-answers.ts";
import { reportStatus } from "./status-reports.ts";

/** The parts of a node that admins ask about. */
interface AdminAnswersParts extends Pick<Pipeline, "revocations"> {
  readonly client: MongoAccess;
  readonly feed: Feed;
  readonly gateway: Gateway;
  /** Holds the rules in force, and their time. */
  readonly context: Pick<GatewayContext, "rules" | "clock" | "trace">;
  readonly edits: RuleEdits;
  readonly readiness: () => Readiness;
  /** Age of the head of the change stream. */
  readonly headAgeMs: () => number;
}

/** How long the server may work on a sample of documents, in milliseconds. */
const SAMPLE_MS = 2_000;

/** Answers the questions of admins about this node, samples its load, and reports its status to the fleet. */
export function adminAnswers(basics: Basics, state: SharedState, parts: AdminAnswersParts): Ask {
  const { config, node, id, log, metrics } = basics;
  const { database, answer } = state;
  const { client, feed, gateway, revocations, readiness, headAgeMs, context, edits } = parts;
  const load = {
    log,
    metrics,
    connections: () => gateway.connections,
    liveQueries: () => feed.liveQueries,
  };
  const { samples, stop } = sampleLoad(load);
  basics.onStop(async () => stop());
  const about = { ...load, version: packageVersion(), startedAtMs: Date.now(), readiness, headAgeMs };
  const status = () => statusOf(about);
  const mark = () => {
    const { ready, status: word, rulesGeneration, lastReload } = readiness();
    return [ready, word, rulesGeneration, lastReload].join(" ");
  };
  const names = { node, id };
  const serverNowMs = () => state.clock.nowMs();
  const traces = new Traces(config.server.admin, {
    names,
    feed,
    gateway,
    context,
    serverNowMs,
    log,
    metrics,
  });
  basics.onStop(async () => traces.stop());
  return nodeAnswers({
    names,
    gateway,
    feed,
    traces,
    rules: () => ({ rules: context.rules, nowMs: context.clock.nowMs }),
    compileDraft: (text) => edits.compile(text),
    isFollowed: (namespace) => namesOf(edits.config).includes(namespace),
    open: (query, after) => SnapshotCursor.open(client, query, after),
    stored: (most) => collectionNames(client, config.mongodb.database, most),
    sample: async (namespace) => {
      const { nameDocuments } = config.server.admin;
      if (nameDocuments === 0) return [];
      const limits = { documents: nameDocuments, maxTimeMs: SAMPLE_MS };
      const documents = await sampleDocuments(client, namespace, limits);
      metrics.nameDocuments.inc(documents.length);
      return documents;
    },
    ruleSets: ruleSetAnswers(config, state, edits),
    sinks: sinkAnswers(config, state, client),
    plan: (query) => planSnapshot(client, query),
    status,
    samples,
    fleet: reportStatus(basics, state, { status, mark }),
    audit: new AuditStore(database, node, config.server.admin.auditForMs),
    pushes: new PushStore(database),
    revocations: new RevocationStore(database),
    whyNotFollowed:
      revocations === null
        ? "this node does not follow revocations, so they would have no effect: see auth.revocation and auth.jwt"
        : null,
    revocationBytesMax: config.auth.revocationBytes,
    answer,
  });
}
