/**
 * Asks MongoDB how it would run a snapshot. `tidewire explain` and the start-up warnings use it to report missing
 * indexes before clients notice slow reads.
 */
import type { Document } from "mongodb";
import { answerOf, type MongoAccess } from "./mongo.ts";
import { filterField, type SnapshotQuery } from "./snapshot-cursor.ts";

/** The server's plan for finding the documents of a snapshot. */
export interface SnapshotPlan {
  /** The indexes that the plan uses; none if it reads the whole collection. */
  readonly indexes: readonly string[];
  /** Whether some part of the plan reads the whole collection. */
  readonly readsEverything: boolean;
  /** Whether the server sorts the documents in memory, because no index has the order of the sort. */
  readonly sortsInMemory: boolean;
  /**
   * Whether the plan uses an index that covers only a part of the collection. Other values of the query may not be able
   * to use it.
   */
  readonly usesPartialIndex: boolean;
}

/**
 * Asks the server's planner (`explain`), which does not run the query.
 * @throws The server's or the driver's error.
 */
export async function planSnapshot(
  client: MongoAccess,
  query: Pick<SnapshotQuery, "database" | "collection" | "filter" | "sort" | "limit" | "maxTimeMs">,
): Promise<SnapshotPlan> {
  const { database, collection, filter, sort, limit, maxTimeMs } = query;
  const find = {
    find: collection,
    ...filterField("filter", filter),
    ...(sort === undefined ? {} : { sort }),
    ...(limit === undefined ? {} : { limit }),
    collation: { locale: "simple" },
  };
  const explain = { explain: find, verbosity: "queryPlanner", maxTimeMS: maxTimeMs };
  const answer = await answerOf(client, (at) => at.db(database).command(explain), {
    timeoutMs: 2 * maxTimeMs,
  });
  const stages = [...stagesOf(answer["queryPlanner"]?.winningPlan)];
  return {
    indexes: [
      ...new Set(stages.flatMap(({ indexName }) => (typeof indexName === "string" ? [indexName] : []))),
    ],
    readsEverything: stages.some(({ stage }) => stage === "COLLSCAN"),
    sortsInMemory: stages.some(({ stage }) => stage === "SORT"),
    usesPartialIndex: stages.some(({ isPartial }) => isPartial === true),
  };
}

/** Stages are nested in several ways: `inputStage(s)`, per shard, and per engine (`queryPlan`, from 5.0 on). */
function* stagesOf(value: unknown): Generator<Document> {
  if (Array.isArray(value)) {
    for (const item of value) yield* stagesOf(item);
  } else if (typeof value === "object" && value !== null) {
    if ("stage" in value) yield value;
    // Plans that were considered and rejected are skipped: they do not describe the one that would run.
    for (const [key, part] of Object.entries(value)) if (key !== "rejectedPlans") yield* stagesOf(part);
  }
}
