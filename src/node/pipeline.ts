import { ReadPreference } from "mongodb";
import type { Config } from "../config/config.ts";
import { nameOf, namesOf, ruleSetsOf } from "../config/namespaces.ts";
import { Feed } from "../feed/feed.ts";
import type { CollectionReader } from "../feed/interest.ts";
import { followRevocations, revocationModeOf } from "../follow-revocations.ts";
import type { Revocations } from "../gateway/rights/revocations.ts";
import { ChangeSource } from "../source/change-source.ts";
import { ImageKeeper } from "../source/image-keeper.ts";
import { MongoSnapshots } from "../source/mongo-snapshots.ts";
import type { PreflightReport } from "../source/preflight.ts";
import type { RedisPackage } from "../source/tail/redis-connection.ts";
import type { Basics } from "./basics.ts";
import type { OpenedClient } from "./open-client.ts";
import type { SharedState } from "./shared-state.ts";

/** The parts between MongoDB and the live queries. */
export interface Pipeline {
  readonly feed: Feed;
  readonly source: ChangeSource;
  readonly keeper: ImageKeeper;
  /** `null` where this node does not follow them. */
  readonly revocations: Revocations | null;
}

/** Called once the change stream has begun, and not before. */
interface PipelineEvents {
  /** A batch of commits has been handed to all live queries. */
  readonly onHandedOut: () => void;
  /** A collection has become something that no change stream shows. */
  readonly onUnwatchable: (namespace: string) => void;
}

/** Builds the parts between MongoDB and the live queries; `runSource` lets the change stream begin. */
export function buildPipeline(
  { config, node, id, log, metrics, tracing, onStop }: Basics,
  { client, uri }: OpenedClient,
  { database, deployment, clock }: SharedState,
  report: PreflightReport,
  { onHandedOut, onUnwatchable, redis }: PipelineEvents & { readonly redis: RedisPackage | null },
): Pipeline {
  const switchOn = report.keepsImages && config.mongodb.images !== "off";
  const keeper = new ImageKeeper(client, log, metrics, { switchOn, onUnwatchable });
  keeper.follow(report.collections);
  // The feed and the source know each other only through these closures: the feed reads old commits, the source brings
  // new ones.
  const feed: Feed = new Feed(config.history, config.limits, {
    reader: new MongoSnapshots(client),
    deployment,
    readOplog: (from, signal) => source.read(from, signal),
    collections: collectionReaderOf(config, keeper, () => source),
    idleAgeMs: idleAgeOf(config),
    serverNowMs: () => clock.nowMs(),
    onHandedOut,
    tracing,
    log,
    metrics,
  });
  onStop(async () => feed.stop());
  const followsRevocations = report.followsState && revocationModeOf(config) !== "off";
  const followed = followsRevocations ? followRevocations(config, client, { log, metrics }) : null;
  if (followed !== null) feed.followState(followed.collection);
  const ruleSets = config.rules.from === "database" ? [nameOf(ruleSetsOf(config))] : [];
  const { connectTimeoutMs, awaitTimeMs, progressTimeoutMs, checkpointIntervalMs, stream, tail } =
    config.mongodb;
  const serverNowMs = () => clock.nowMs();
  const source: ChangeSource = new ChangeSource(
    {
      uri,
      connectTimeoutMs,
      namespaces: namesOf(config),
      stateNamespaces: [...(followed === null ? [] : [followed.collection.namespace]), ...ruleSets],
      ruleNamespaces: ruleSets,
      startBeforeMs: config.history.windowMs,
      awaitTimeMs,
      progressTimeoutMs,
      checkpointIntervalMs,
      images: report.keepsImages,
      onNotice: (_operation, namespace) => keeper.look(namespace),
      readPreference: readPreferenceOf(stream),
      tail:
        redis === null || tail === undefined ? undefined : { options: tail, redis, holder: id, serverNowMs },
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

/** @param sourceOf Gives the change source, which is built after the feed. */
function collectionReaderOf(
  config: Config,
  keeper: ImageKeeper,
  sourceOf: () => ChangeSource,
): CollectionReader {
  let notRead: ReadonlySet<string> = new Set();
  return {
    namespaces: namesOf(config),
    unfollowedAfterMs: unfollowedAfterOf(config),
    watch: (namespaces, skipped, onRead) => {
      const returned = [...notRead].filter((namespace) => !skipped.has(namespace));
      notRead = skipped;
      sourceOf().watch(namespaces, skipped, () => {
        onRead();
        // Nothing has shown whether they were created again meanwhile, or have lost their images.
        for (const namespace of returned) keeper.look(namespace);
      });
    },
  };
}

/** As long as the history reaches back, a client that returns finds the changes of its collection there. */
const unfollowedAfterOf = ({ mongodb, history }: Config): number => {
  const { unfollowedAfterMs } = mongodb.stream;
  return unfollowedAfterMs === 0 ? Number.POSITIVE_INFINITY : Math.max(unfollowedAfterMs, history.windowMs);
};

/** The driver does not choose a member that is further behind than this, in seconds. It accepts no less. */
const STALENESS_SECONDS = 90;

const readPreferenceOf = ({ readPreference, tags }: Config["mongodb"]["stream"]): ReadPreference =>
  readPreference === "primary"
    ? ReadPreference.primary
    : new ReadPreference(readPreference, tags, { maxStalenessSeconds: STALENESS_SECONDS });

/** A server without writes moves the stream on every so often. */
const NO_OP_INTERVAL_MS = 10_000;

/** An idle stream moves with the position that the service itself saves, as soon as the server answers after that. */
const idleAgeOf = ({ mongodb: { checkpointIntervalMs, awaitTimeMs } }: Config): number =>
  Math.min(checkpointIntervalMs, NO_OP_INTERVAL_MS) + awaitTimeMs;

/** Follows the change stream until the node stops. */
export function runSource({ onStop }: Basics, source: ChangeSource): void {
  const abort = new AbortController();
  const running = source.run(abort.signal);
  onStop(async () => {
    abort.abort();
    await running;
  });
}
