import { MongoClient } from "mongodb";
import { type Config, ConfigError } from "../config/config.ts";
import { createIndexLine } from "../match/index-advice.ts";
import { toMongo } from "../match/to-mongo.ts";
import type { EffectiveQuery } from "../rules/authorize.ts";
import { answerOf, STATE_TIMEOUT_MS } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { planSnapshot } from "../source/snapshot-plan.ts";

/** Rules are often written without a running server, so this wait is short. */
const SELECTION_TIMEOUT_MS = 2_000;

/**
 * Whether an index serves the snapshot of a query, in words.
 * @param load The whole configuration, which is needed only to reach MongoDB. May throw a `ConfigError`.
 */
export async function snapshotIndex(load: () => Promise<Config>, query: EffectiveQuery): Promise<string> {
  try {
    return await indexText(await load(), query);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return "not checked: the configuration has a problem outside of its rules (tidewire check names it)";
  }
}

async function indexText(
  config: Config,
  { database, collectionName: collection, filter, requireIndex }: EffectiveQuery,
): Promise<string> {
  const { uri, connectTimeoutMs } = config.mongodb;
  if (uri === EMBEDDED_URI) return "not checked: the embedded mongod runs only with the service";
  const client = new MongoClient(uri, {
    ...clientOptions(connectTimeoutMs),
    serverSelectionTimeoutMS: SELECTION_TIMEOUT_MS,
  });
  try {
    const maxTimeMs = STATE_TIMEOUT_MS;
    const query = { database, collection, filter: toMongo(filter), maxTimeMs };
    const plan = await answerOf(client, (at) => planSnapshot(at, query), { timeoutMs: STATE_TIMEOUT_MS });
    const refused = requireIndex ? ". The rule's allow.requireIndex refuses this request" : "";
    if (plan.readsEverything) {
      const line = createIndexLine(database, collection, filter);
      const advice = line === undefined ? "Index a field that the filter asks for" : `Create one: ${line}`;
      return `none: every snapshot reads the whole collection${refused}. ${advice}`;
    }
    return plan.indexes.length === 0 ? "not needed: the server reads nothing" : plan.indexes.join(", ");
  } catch (error) {
    // The rules can be explained without a server. Only this line is missing then.
    return `not checked: ${error instanceof Error ? error.name : "MongoDB gave no answer"}`;
  } finally {
    await client.close();
  }
}
