import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import { hostname } from "node:os";
import { type Logger, pino } from "pino";
import { createAdminServer } from "./admin/admin-server.ts";
import type { PlanText } from "./admin/plan-edit.ts";
import { type Ask, onlyProcess } from "./admin/questions.ts";
import { type Readiness, randomNodeId, readinessOf } from "./admin/readiness.ts";
import type { Config } from "./config/config.ts";
import type { Feed } from "./feed/feed.ts";
import { Gateway } from "./gateway/gateway.ts";
import type { GrpcListener } from "./gateway/http/grpc-listener.ts";
import { closeServer, type Listening, listen, openSocketsOf } from "./gateway/http/listener.ts";
import { sharedParts } from "./gateway/shared-parts.ts";
import { noteFault } from "./metrics/guard.ts";
import { createMetrics, type Metrics } from "./metrics/metrics.ts";
import { adminAnswers } from "./node/admin-answers.ts";
import { awaitMajority } from "./node/await-majority.ts";
import type { Basics, ExtraRoutes } from "./node/basics.ts";
import { followRuleSets, loadRulesInForce, loadRuleTimes, rulesAheadOf } from "./node/database-rules.ts";
import { gatewayContext, optionalTransportsOf } from "./node/gateway-context.ts";
import { MajorityWatch } from "./node/majority-watch.ts";
import { checkDeployment, openClient, redisOf } from "./node/open-client.ts";
import { openPresence } from "./node/open-presence.ts";
import { buildPipeline, runSource } from "./node/pipeline.ts";
import { buildGrpcListener, buildPublicServer } from "./node/public-server.ts";
import { startPush } from "./node/push.ts";
import { RuleEdits } from "./node/rule-edits.ts";
import { openState, type SharedState } from "./node/shared-state.ts";
import { startSinks } from "./node/start-sinks.ts";
import { tracingOf } from "./node/tracing-of.ts";
import { StartPatience } from "./source/start-patience.ts";
import { loggedError } from "./terminal/logged-error.ts";

/** A running node, without its listeners. */
interface Running {
  readonly node: string;
  /** The id under which clients see the node, in `welcome` and on the public `/readyz`. */
  readonly id: string;
  /** The MongoDB of the node. With the embedded one, this is the only place to learn its URI. */
  readonly mongodbUri: string;
  readonly metrics: Metrics;
  readiness(): Readiness;
  /** Records a refused edit in the metric and in `/readyz`. */
  noteRejectedReload(): void;
  /** Drains the connections within `server.drainTimeout`, then stops the node. */
  drain(): Promise<void>;
  /** Stops at once. */
  stop(): Promise<void>;
}

/** One running node. */
export interface Service extends Running {
  /** Where clients connect, and where metrics and health are. */
  readonly address: Listening;
  readonly adminAddress: Listening;
  /** Where clients of gRPC connect; `null` if it is not served. */
  readonly grpcAddress: Listening | null;
  /** Logs an admin in once; `null` if a credential is configured, or the listener is not on loopback. */
  readonly adminLoginUrl: string | null;
  /**
   * Applies an edited configuration: rules and collections take effect now, and the log names the sections that need a
   * restart.
   */
  reload(config: Config): Promise<void>;
}

/** A node without listeners, which receives its connections from the caller. */
export interface RunningNode extends Running {
  readonly publicServer: Server;
  /** `null` if gRPC is not served. */
  readonly grpcListener: GrpcListener | null;
  /** Checks whether an edit can take effect. @returns A function that applies it. */
  prepare(config: Config): Promise<() => Promise<void>>;
  readonly plan: PlanText;
  /** Answers the questions of admins about this node. */
  readonly ask: Ask;
}

/** Options of a node besides its configuration. */
export interface NodeOptions {
  /** The generation of its first rules; 1 by default. */
  readonly generation?: number;
  readonly extraRoutes?: ExtraRoutes;
}

/**
 * Starts a node in this process, whatever `server.workers` says, because only the command line starts several processes.
 * @throws {StartupError} What has to be changed first, all of it.
 */
export async function startService(
  config: Config,
  log: Logger = pino({ ...config.log, serializers: { err: loggedError } }),
  extraRoutes: ExtraRoutes = () => false,
): Promise<Service> {
  // These come before any connection, because a missing package would otherwise be reported only after the wait for a
  // majority.
  await optionalTransportsOf(config);
  await tracingOf(config);
  const { port, adminPort } = await awaitMajority(config, log);
  const node = await startNode(config, log, { extraRoutes });
  const { publicServer, grpcListener, prepare, plan, ask, ...running } = node;
  const { metrics, readiness } = running;
  const { server: adminServer, loginUrl } = createAdminServer({
    server: config.server,
    counters: metrics,
    metrics: () => metrics.registry.metrics(),
    readiness,
    plan,
    processes: onlyProcess(ask),
    log,
  });
  const stop = async () => {
    closeServer(adminServer);
    await running.stop();
  };
  try {
    const address = await listen(publicServer, { host: config.server.host, port });
    const { grpc } = config.server;
    const grpcAddress =
      grpc === undefined || grpcListener === null ? null : await listen(grpcListener.server, grpc);
    const adminAddress = await listen(adminServer, { host: config.server.admin.host, port: adminPort });
    const reload = async (next: Config) => (await prepare(next))();
    const drain = () => running.drain().finally(() => closeServer(adminServer));
    const adminLoginUrl = loginUrl(adminAddress);
    return { ...running, address, grpcAddress, adminAddress, adminLoginUrl, reload, drain, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Builds the parts of a node, starts them in the order in which data passes, and stops them in reverse.
 * @throws {StartupError} What has to be changed first, all of it.
 */
export async function startNode(
  config: Config,
  log: Logger,
  { generation = 1, extraRoutes = () => false }: NodeOptions = {},
): Promise<RunningNode> {
  const started: (() => Promise<void>)[] = [];
  const stopAll = async () => {
    for (const stop of started.splice(0).reverse()) await stop();
  };
  const node = config.server.node ?? `${hostname()}-${randomBytes(3).toString("hex")}`;
  const id = randomNodeId();
  const metrics = createMetrics();
  const onStop = (stop: () => Promise<void>) => void started.push(stop);
  try {
    const tracing = await tracingOf(config, (error) => noteFault({ log, metrics }, "tracing", error));
    return await start({ config, node, id, log, metrics, tracing, extraRoutes, onStop }, generation, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function start(given: Basics, generation: number, stopAll: () => Promise<void>): Promise<RunningNode> {
  const { node, id, log, metrics } = given;
  const transports = await optionalTransportsOf(given.config);
  const redis = await redisOf(given);
  const mongodb = await openClient(given);
  const { client } = mongodb;
  const patience = new StartPatience(client, given.config.mongodb.startTimeoutMs, log);
  await patience.run((at) => at.connect());
  const loaded = await patience.run(() => loadRulesInForce(given, client));
  const basics = loaded === null ? given : { ...given, config: loaded.config };
  const { config } = basics;
  const report = await patience.run(() => checkDeployment(basics, client));
  const state = await patience.run(() => openState(basics, client));
  // The source starts after the gateway exists, because it calls the gateway from the first commit on.
  const pipeline = buildPipeline(basics, mongodb, state, report, {
    onHandedOut: () => gateway.flush(),
    onUnwatchable: (namespace) => gateway.collectionDropped(namespace),
    redis,
  });
  const { feed, source, keeper, revocations } = pipeline;
  const ruleTimes = await patience.run(() => loadRuleTimes(config, loaded, state));
  const rulesAhead = loaded === null ? null : rulesAheadOf(loaded, client, log);
  const context = gatewayContext(basics, state, { feed, revocations, ruleTimes, rulesAhead });
  // Before the gateway, which ends the connections while entries can still be saved.
  await patience.run(() => openPresence(basics, state, context));
  const shared = sharedParts(context);
  const gateway: Gateway = new Gateway(context, shared, transports);
  basics.onStop(async () => gateway.stop());
  const rules = { ruleTimes, rulesAhead, ruleTimeStore: state.rules };
  const parts = { client, feed, source, keeper, gateway, ...rules, metrics, log };
  const edits = new RuleEdits(parts, config, loaded?.set.number ?? generation);
  const followed = loaded === null ? null : followRuleSets(basics, { config, client, state, feed, edits });
  runSource(basics, source);
  const sinks = await patience.run(() => startSinks(basics, { client, state, gateway, context }));
  // Stopped before the source, which may wait for a rule set.
  basics.onStop(async () => followed?.stop());
  const headAgeMs = () => headAgeOf(feed, state);
  const majority = watchMajority(basics, state, headAgeMs);
  const readiness = () =>
    readinessOf({ node, id, source, feed, gateway, keeper, revocations, majority, rules: edits });
  const push = startPush(basics, state, { feed, context, ...shared });
  const sockets = openSocketsOf(config.limits, config.server);
  const publicServer = buildPublicServer(basics, gateway, readiness, push, sockets);
  const grpcListener = buildGrpcListener(basics, gateway, sockets);
  metrics.workers.set(1);
  return {
    node,
    id,
    mongodbUri: mongodb.uri,
    metrics,
    readiness,
    publicServer,
    grpcListener,
    plan: (text, gone) => edits.plan(text, gone),
    ask: adminAnswers(basics, state, { ...parts, revocations, context, edits, readiness, headAgeMs }),
    prepare: (edited) => edits.prepare(edited),
    noteRejectedReload: () => edits.reject(),
    async drain() {
      publicServer.close();
      grpcListener?.drain();
      // Their connections would keep the gateway waiting.
      await sinks?.stop();
      await gateway.drain(config.server.drainTimeoutMs);
      await stopAll();
    },
    stop: stopAll,
  };
}

/** The age of the head of the change stream, in milliseconds; 0 until there is one. */
const headAgeOf = ({ timeline }: Feed, { clock }: SharedState): number =>
  timeline.isReady ? clock.nowMs() - Number(timeline.headTime >> 32n) * 1_000 : 0;

/** Watches until the node stops. */
function watchMajority(basics: Basics, { deployment }: SharedState, headAgeMs: () => number): MajorityWatch {
  const watch = new MajorityWatch({ headAgeMs, confirm: () => deployment.confirm() }, basics);
  basics.onStop(async () => watch.stop());
  return watch;
}
