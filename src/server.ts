import { randomBytes } from "node:crypto";
import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { hostname } from "node:os";
import { type Logger, pino } from "pino";
import { answerHealth, answerNotFound, createAdminServer } from "./admin/admin-server.ts";
import { answerJson } from "./admin/answer-json.ts";
import { type EditPlan, type EditProblems, planEdit } from "./admin/plan-edit.ts";
import { type Readiness, randomNodeId, readinessOf } from "./admin/readiness.ts";
import { RulesState } from "./admin/rules-state.ts";
import type { Config } from "./config/config.ts";
import { readEdit } from "./config/edit-reader.ts";
import { namesOf, namespacesOf, statePrefixOf } from "./config/namespaces.ts";
import { Feed } from "./feed/feed.ts";
import { Sealer } from "./feed/sealer.ts";
import { TicketSealer } from "./feed/ticket.ts";
import { followRevocations, followStateOf } from "./follow-revocations.ts";
import type { GatewayContext } from "./gateway/context.ts";
import { Gateway } from "./gateway/gateway.ts";
import { HostNames, UNKNOWN_HOST_TEXT } from "./gateway/http/host-names.ts";
import { closeServer, createPublicServer, type Listening, listen } from "./gateway/http/listener.ts";
import { totalOf } from "./gateway/plan-rules.ts";
import { UrlKeys } from "./gateway/rights/key.ts";
import { LostRights, type LostRightsStore } from "./gateway/rights/lost-rights.ts";
import type { Revocations } from "./gateway/rights/revocations.ts";
import { RuleClock } from "./gateway/rights/rule-clock.ts";
import { RuleTimes } from "./gateway/rights/rule-times.ts";
import { Trust } from "./gateway/rights/trust.ts";
import type { SocketIoOptions } from "./gateway/socketio/socketio-endpoint.ts";
import { createMetrics, type Metrics } from "./metrics/metrics.ts";
import { compileRules, compileRulesInTurns, type RulesSource } from "./rules/compile-rules.ts";
import { ChangeSource } from "./source/change-source.ts";
import { Deployment } from "./source/deployment.ts";
import { type EmbeddedMongod, startEmbeddedMongod } from "./source/embedded-mongod.ts";
import { EpochStore } from "./source/epoch-store.ts";
import { ImageKeeper } from "./source/image-keeper.ts";
import { LostRightStore } from "./source/lost-right-store.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS, type StateDatabase } from "./source/mongo.ts";
import { EMBEDDED_URI } from "./source/options.ts";
import { type FollowState, type PreflightReport, preflight } from "./source/preflight.ts";
import { clientOptions, ReplaceableClient } from "./source/replaceable-client.ts";
import { RuleTimeStore } from "./source/rule-time-store.ts";
import { SealingKeyStore } from "./source/sealing-keys.ts";
import { readServerTime, ServerClock } from "./source/server-clock.ts";
import { SpentKeyStore } from "./source/spent-keys.ts";
import { StartPatience, unreachable } from "./source/start-patience.ts";
import { StartupError } from "./source/startup-error.ts";
import { checkStateNames, prefixed } from "./source/state-names.ts";
import { identifyDeployment } from "./source/topology.ts";

/** For an edit that adds collections: to switch images on waits for the operations in progress. In milliseconds. */
const PREFLIGHT_TIMEOUT_MS = 60_000;
/** Keys are read again this often: another node may have rotated them. In milliseconds. */
const KEYS_INTERVAL_MS = 60_000;

/** What runs, whoever listens for it. */
interface Running {
  readonly node: string;
  /** The id under which clients see the node, in `welcome` and on the public `/readyz`. */
  readonly id: string;
  /** The MongoDB it works on; for the embedded one this is the only place to learn it. */
  readonly mongodbUri: string;
  readonly metrics: Metrics;
  readiness(): Readiness;
  /** An edit was refused; it is told by metric and `/readyz`. */
  noteRejectedReload(): void;
  /** Hands the clients over within `server.drainTimeout`, then stops everything. */
  drain(): Promise<void>;
  /** Stops at once. */
  stop(): Promise<void>;
}

/** One running node. */
export interface Service extends Running {
  /** Where clients connect, and where metrics and health are. */
  readonly address: Listening;
  readonly adminAddress: Listening;
  /** Lets an edited configuration take effect: rules and collections now, the rest is named in the log. */
  reload(config: Config): Promise<void>;
}

/** A node that does not listen: what it serves has to be given to it. */
export interface RunningNode extends Running {
  readonly publicServer: Server;
  /** Finds out whether an edit can take effect. @returns What lets it. */
  prepare(config: Config): Promise<() => Promise<void>>;
  /** What an edit would do, given as the text of a configuration. */
  plan(text: string): Promise<EditPlan | EditProblems>;
}

/** What a node may be given besides its configuration. */
export interface NodeOptions {
  /** Of the rules it starts with; 1 unless told. */
  readonly generation?: number;
  readonly extraRoutes?: ExtraRoutes;
}

/** Of a configuration what rules are made of, and no secret. */
const rulesOf = ({ mongodb: { database }, collections, limits }: Config): RulesSource => ({
  mongodb: { database },
  collections,
  limits,
});

/** Answers on the public listener what is not the service's own; `false` where the path is none of theirs. */
export type ExtraRoutes = (request: IncomingMessage, response: ServerResponse) => boolean;

/**
 * Starts a node in this process, whatever `server.workers` says: several processes are for the command line.
 * @throws {StartupError} What has to be changed first, all of it.
 */
export async function startService(
  config: Config,
  log: Logger = pino(config.log),
  extraRoutes: ExtraRoutes = () => false,
): Promise<Service> {
  const { publicServer, prepare, plan, ...running } = await startNode(config, log, { extraRoutes });
  const { metrics, readiness } = running;
  const adminServer = createAdminServer({
    server: config.server,
    counters: metrics,
    metrics: () => metrics.registry.metrics(),
    readiness,
    plan,
    log,
  });
  const stop = async () => {
    closeServer(adminServer);
    await running.stop();
  };
  try {
    const address = await listen(publicServer, config.server);
    const adminAddress = await listen(adminServer, config.server.admin);
    const reload = async (next: Config) => (await prepare(next))();
    const drain = () => running.drain().finally(() => closeServer(adminServer));
    return { ...running, address, adminAddress, reload, drain, stop };
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
    return await start({ config, node, id, log, metrics, extraRoutes, onStop }, generation, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** What every part of a node works with; `onStop` is called in reverse when the node stops. */
interface Basics {
  readonly config: Config;
  readonly log: Logger;
  readonly extraRoutes: ExtraRoutes;
  readonly node: string;
  /** The id under which clients see the node. */
  readonly id: string;
  readonly metrics: Metrics;
  onStop(stop: () => Promise<void>): void;
}

async function start(basics: Basics, generation: number, stopAll: () => Promise<void>): Promise<RunningNode> {
  const { config, node, id, log, metrics } = basics;
  const socketIo = await socketIoOf(config);
  const mongodb = await openClient(basics);
  const patience = new StartPatience(mongodb.client, config.mongodb.startTimeoutMs, log);
  await patience.run((client) => client.connect()).catch(throwStartupError);
  const report = await patience.run(() => checkDeployment(basics, mongodb.client));
  const state = await patience.run(() => openState(basics, mongodb.client));
  const { feed, source, keeper, revocations } = buildPipeline(basics, mongodb, state, report, () =>
    gateway.flush(),
  );
  const ruleTimes = await patience.run(async () => {
    const since = await state.rules.load();
    const times = new RuleTimes(compileRules(config), since, await state.deployment.now());
    await state.rules.save(times.all);
    return times;
  });
  const gateway: Gateway = new Gateway(
    gatewayContext(basics, state, { feed, revocations, ruleTimes }),
    socketIo,
  );
  basics.onStop(async () => gateway.stop());
  keeper.onUnwatchable = (namespace) => gateway.collectionDropped(namespace);
  run(basics, source);

  const rules = new RulesState(metrics, log, generation);
  const readiness = () => readinessOf({ node, id, source, feed, gateway, keeper, rules, revocations });
  const publicServer = buildPublicServer(basics, gateway, readiness);
  metrics.workers.set(1);
  let current = config;
  const plan = async (text: string) => {
    const edit = await readEdit({ text, inForce: rulesOf(current) }, config.server.admin.planTimeoutMs);
    return "problems" in edit ? edit : planEdit(gateway, rules.generation, edit.source, edit.diff);
  };

  return {
    node,
    id,
    mongodbUri: mongodb.uri,
    metrics,
    readiness,
    plan,
    publicServer,
    async prepare(next) {
      const added = await prepareReload(mongodb.client, current, next);
      const edited = await compileRulesInTurns(next);
      const { collections } = await gateway.planRules(edited);
      const followCollections = () => {
        if (namesOf(next).join() === namesOf(current).join()) return;
        keeper.follow(added);
        keeper.keepOnly(namesOf(next));
        if (added.length > 0) log.info({ collections: added }, "more collections are followed");
        feed.follow(added.map(({ namespace }) => namespace));
        source.watch(namesOf(next));
      };
      return async () => {
        await rules.apply(gateway, edited, totalOf(collections), followCollections);
        // What could not be saved is found out, and made up for, by the next start.
        state.rules
          .save(ruleTimes.all)
          .catch((err: unknown) => log.warn({ err }, "the time of the edit could not be saved"));
        warnOfUnapplied(current, next, log);
        current = next;
      };
    },
    noteRejectedReload: () => rules.reject(),
    async drain() {
      publicServer.close();
      await gateway.drain(config.server.drainTimeoutMs);
      await stopAll();
    },
    stop: stopAll,
  };
}

async function checkDeployment({ config, log }: Basics, client: MongoAccess): Promise<PreflightReport> {
  const report = await preflight(client, {
    collections: namespacesOf(config),
    followState: followStateOf(config),
    stateDatabase: config.mongodb.stateDatabase,
    images: config.mongodb.images,
  });
  for (const warning of report.warnings) log.warn(warning);
  const { version, topology, collections, scope, followsState } = report;
  const revocation = followsState ? "on" : "off";
  log.info({ version, topology, collections, changeStream: scope, revocation }, "MongoDB checks passed");
  return report;
}

/** What the nodes of a fleet share, all of it in the state database. */
interface SharedState {
  readonly database: StateDatabase;
  /** Waits for an answer of it, but not for ever. */
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly deployment: Deployment;
  readonly clock: ServerClock;
  readonly sealer: Sealer;
  readonly rules: RuleTimeStore;
}

async function openState({ config, onStop }: Basics, client: ReplaceableClient): Promise<SharedState> {
  const { stateDatabase } = config.mongodb;
  const prefix = statePrefixOf(config);
  await checkStateNames(client, stateDatabase, prefix);
  const database = prefixed(client.stateDatabase(stateDatabase), prefix);
  const identify = async () => (await identifyDeployment(client)).id;
  const deployment = new Deployment(client, new EpochStore(database), identify);
  const answer: SharedState["answer"] = (ask) => answerOf(client, ask, { timeoutMs: STATE_TIMEOUT_MS });
  const clock = new ServerClock(() => answer(() => readServerTime(client)));
  onStop(async () => clock.stop());
  await clock.start();
  const keyStore = new SealingKeyStore(database);
  const sealer = new Sealer(await keyStore.load(), () => answer(() => keyStore.load()));
  const timer = setInterval(() => void sealer.reload().catch(() => {}), KEYS_INTERVAL_MS).unref();
  onStop(async () => clearInterval(timer));
  return { database, answer, deployment, clock, sealer, rules: new RuleTimeStore(database) };
}

interface Pipeline {
  readonly feed: Feed;
  readonly source: ChangeSource;
  readonly keeper: ImageKeeper;
  /** `null` where this node does not follow them. */
  readonly revocations: Revocations | null;
}

/** From MongoDB to the live queries. */
function buildPipeline(
  { config, node, log, metrics, onStop }: Basics,
  { client, uri }: { client: MongoAccess; uri: string },
  { database, deployment, clock }: SharedState,
  report: PreflightReport,
  onHandedOut: () => void,
): Pipeline {
  const switchOn = report.keepsImages && config.mongodb.images !== "off";
  const keeper = new ImageKeeper(client, log, metrics, switchOn);
  keeper.follow(report.collections);
  // The two know of each other by these closures alone: the feed reads old commits, the source brings new ones.
  const feed: Feed = new Feed(config.history, config.limits, {
    client,
    deployment,
    readOplog: (from, signal) => source.read(from, signal),
    idleAgeMs: idleAgeOf(config),
    serverNowMs: () => clock.nowMs(),
    onHandedOut,
    log,
    metrics,
  });
  onStop(async () => feed.stop());
  const followed = report.followsState ? followRevocations(config, client, { log, metrics }) : null;
  if (followed !== null) feed.followState(followed.collection);
  const { connectTimeoutMs, awaitTimeMs, progressTimeoutMs, checkpointIntervalMs } = config.mongodb;
  const source: ChangeSource = new ChangeSource(
    {
      uri,
      connectTimeoutMs,
      namespaces: namesOf(config),
      stateNamespaces: followed === null ? [] : [followed.collection.namespace],
      startBeforeMs: config.history.windowMs,
      awaitTimeMs,
      progressTimeoutMs,
      checkpointIntervalMs,
      images: report.keepsImages,
      onNotice: (_operation, namespace) => keeper.look(namespace),
    },
    {
      client,
      deployment,
      stateDatabase: database,
      node,
      sink: feed,
      onMissingImage: (namespace) => keeper.imageMissing(namespace),
      log,
      metrics,
    },
  );
  return { feed, source, keeper, revocations: followed?.revocations ?? null };
}

/** A server without writes moves the stream on every so often. */
const NO_OP_INTERVAL_MS = 10_000;

/** An idle stream moves with the position that the service itself saves, as soon as the server answers after that. */
const idleAgeOf = ({ mongodb: { checkpointIntervalMs, awaitTimeMs } }: Config): number =>
  Math.min(checkpointIntervalMs, NO_OP_INTERVAL_MS) + awaitTimeMs;

function run({ onStop }: Basics, source: ChangeSource): void {
  const abort = new AbortController();
  const running = source.run(abort.signal);
  onStop(async () => {
    abort.abort();
    await running;
  });
}

function gatewayContext(
  { config, id, log, metrics }: Basics,
  state: SharedState,
  {
    feed,
    revocations,
    ruleTimes,
  }: Pick<GatewayContext, "feed" | "ruleTimes"> & Pick<Pipeline, "revocations">,
): GatewayContext {
  const tickets = new TicketSealer(state.sealer);
  return {
    node: id,
    server: config.server,
    limits: config.limits,
    auth: config.auth,
    trust: new Trust(config.auth.jwt, revocations, { metrics, log }),
    feed,
    sealer: tickets,
    ticketTerms: {
      maxAgeMs: config.tickets.maxAgeMs,
      clockToleranceMs: config.auth.jwt?.clockToleranceMs ?? 0,
    },
    lostRights: lostRightsOf(config, state, { log, metrics }),
    keys: urlKeysOf(config, state, tickets),
    log,
    metrics,
    rules: compileRules(config),
    ruleTimes,
    clock: new RuleClock(config.rules.nowStepMs, Date.now()),
  };
}

/** Loads the package only where it is wanted: most have no use for it, and it is not one of our own. */
async function socketIoOf({ server, mongodb }: Config): Promise<SocketIoOptions | null> {
  if (!server.socketio) return null;
  try {
    const { Server } = await import("socket.io");
    return { Server, database: mongodb.database };
  } catch (cause) {
    const text =
      "server.socketio needs a package that is not here: npm install socket.io@4, or set it to false";
    throw new StartupError(text, [], { cause });
  }
}

function buildPublicServer(
  { config: { server, limits }, log, metrics, onStop, extraRoutes }: Basics,
  gateway: Gateway,
  readiness: () => Readiness,
): Server {
  const hosts = server.hosts === undefined ? null : new HostNames(server.hosts);
  const answer: RequestListener = (request, response) => {
    // Probes ask by whatever name or address they know.
    if (answerHealth(request, response, readiness, false)) return;
    if (hosts?.includes(request.headers.host) === false) return answerUnknownHost(response, metrics);
    if (gateway.answer(request, response) || extraRoutes(request, response)) return;
    answerNotFound(response, "there are /v1/ws, /v1/sse, /v1/poll and /v1/key here");
  };
  const publicServer = createPublicServer({ server, limits, metrics, log }, answer);
  gateway.listen(publicServer);
  onStop(async () => closeServer(publicServer));
  return publicServer;
}

function answerUnknownHost(response: ServerResponse, metrics: Metrics): void {
  metrics.connectionsRefused.inc({ reason: "host" });
  answerJson(response, 421, { error: UNKNOWN_HOST_TEXT });
}

function lostRightsOf(
  { tickets: { maxAgeMs, lostRights } }: Config,
  { database, answer }: SharedState,
  parts: Pick<Basics, "log" | "metrics">,
): LostRights {
  const saved = new LostRightStore(database);
  const store: LostRightsStore = {
    save: (ids, expiresAt) => answer(() => saved.save(ids, expiresAt)),
    load: (ids) => answer(() => saved.load(ids)),
  };
  return new LostRights({ maxAgeMs, entries: lostRights }, { ...parts, store });
}

function urlKeysOf(
  config: Config,
  { sealer, database, answer }: SharedState,
  tickets: TicketSealer,
): UrlKeys {
  const spent = new SpentKeyStore(database);
  const { urlKeyLifetimeMs: lifetimeMs, jwt } = config.auth;
  const clockToleranceMs = jwt?.clockToleranceMs ?? 0;
  const spend = (id: string, expiresAtMs: number) => answer(() => spent.spend(id, expiresAtMs));
  return new UrlKeys({ lifetimeMs, clockToleranceMs }, { sealer, tickets, spend });
}

const throwStartupError = (error: unknown) => {
  throw error instanceof StartupError ? error : unreachable(error);
};

async function openClient({
  config,
  log,
  onStop,
}: Basics): Promise<{ client: ReplaceableClient; uri: string }> {
  const { dataDir, binary, connectTimeoutMs } = config.mongodb;
  let { uri } = config.mongodb;
  if (uri === EMBEDDED_URI) {
    const mongod: EmbeddedMongod = await startEmbeddedMongod({ dataDir, logger: log, binary });
    onStop(() => mongod.stop());
    uri = mongod.uri;
  }
  const options = { appName: "tidewire", ...clientOptions(connectTimeoutMs) };
  const client = new ReplaceableClient(uri, options, (reason) =>
    log.warn({ reason }, "the MongoDB client was replaced"),
  );
  onStop(() => client.close());
  return { client, uri };
}

/** A newly configured collection has to be fit before its rules take effect. Gives the new ones. */
async function prepareReload(
  client: MongoAccess,
  current: Config,
  next: Config,
): Promise<PreflightReport["collections"]> {
  const known = new Set(namesOf(current));
  const added = namespacesOf(next).filter(
    ({ database, collection }) => !known.has(`${database}.${collection}`),
  );
  if (statePrefixOf(next) !== statePrefixOf(current)) {
    const text = "mongodb.stateDatabase gets its first collection of a rule, or loses its last one";
    throw new StartupError(
      `${text}: the service's own collections have other names then. Restart to apply it`,
    );
  }
  if (added.length === 0) return [];
  const { stateDatabase, images } = current.mongodb;
  const followState: FollowState = { ...followStateOf(current), mode: "off" };
  const options = { collections: added, followState, stateDatabase, images };
  const report = await answerOf(client, (at) => preflight(at, options), { timeoutMs: PREFLIGHT_TIMEOUT_MS });
  return report.collections;
}

/** Everything but collections and their rules needs a restart; to take an edit silently for done would be worse. */
function warnOfUnapplied(current: Config, next: Config, log: Logger): void {
  const sections = ["mongodb", "server", "auth", "limits", "history", "tickets", "log"] as const;
  const differs = sections.filter((name) => JSON.stringify(current[name]) !== JSON.stringify(next[name]));
  if (differs.length > 0)
    log.warn({ sections: differs }, "these sections were edited, too: restart to apply them");
}
