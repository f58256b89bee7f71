import type { Logger } from "pino";
import type { RevokedTokens } from "./auth/revocations.ts";
import type { Config } from "./config/config.ts";
import { ruleSetsOf, statePrefixOf } from "./config/namespaces.ts";
import { FollowedCollection } from "./feed/followed-collection.ts";
import { Revocations } from "./gateway/rights/revocations.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS } from "./source/mongo.ts";
import { MongoSnapshots } from "./source/mongo-snapshots.ts";
import type { FollowState, Namespace } from "./source/preflight.ts";
import { notExpired, parseRevocation, REVOCATIONS, revocationId } from "./source/revocation-store.ts";

function revocationsIn(config: Config): Namespace {
  return {
    database: config.mongodb.stateDatabase,
    collection: statePrefixOf(config) + REVOCATIONS,
  };
}

/** Whether nodes of a configuration follow revocations, if their change stream covers them. */
export const revocationModeOf = ({ auth }: Config): FollowState["mode"] =>
  // If every client is anonymous, there is no token to revoke.
  auth.jwt === undefined ? "off" : auth.revocation;

/**
 * The question that the check at the start asks, for a node and for the command line alike. Rules in the database need
 * the state database in the change stream, and with it the revocations are covered, too.
 */
export function followStateOf(config: Config): FollowState {
  const mode = revocationModeOf(config);
  const revocations = [revocationsIn(config)];
  if (config.rules.from === "file")
    return { mode, collections: revocations, feature: "revocation", without: "auth.revocation: off" };
  const collections = [ruleSetsOf(config), ...(mode === "off" ? [] : revocations)];
  return { mode: "on", collections, feature: "rules.from: database", without: "rules.from: file" };
}

/** The revoked tokens, kept up to date by the change stream once the feed follows `collection`. */
export function followRevocations(
  config: Config,
  client: MongoAccess,
  parts: { log: Logger; metrics: Metrics },
): { revocations: Revocations; collection: FollowedCollection<RevokedTokens> } {
  const namespace = revocationsIn(config);
  const reader = new MongoSnapshots(client);
  const revocations = new Revocations(async (which, clusterTime) => {
    const filter = { _id: { $in: which.map(revocationId) } };
    const read = () => reader.readAt({ ...namespace, filter, maxTimeMs: STATE_TIMEOUT_MS }, clusterTime);
    return (await answerOf(client, read, { timeoutMs: STATE_TIMEOUT_MS })).map(parseRevocation);
  }, parts);
  const spec = {
    ...namespace,
    filter: notExpired,
    maxBytes: config.auth.revocationBytes,
    parse: parseRevocation,
    expiresAtMs: ({ expiresAtMs }: RevokedTokens) => expiresAtMs,
  };
  return { revocations, collection: new FollowedCollection(spec, { reader, log: parts.log }, revocations) };
}
