import type { Document } from "mongodb";
import { answerOf, type MongoAccess } from "./mongo.ts";
import { filterField, type SnapshotQuery } from "./snapshot-cursor.ts";

/** How the server would find the documents of a snapshot. */
export interface SnapshotPlan {
  /** The indexes that it would use; none where it would read the whole collection. */
  readonly indexes: readonly string[];
  /** Whether some part of it reads the whole collection. */
  readonly readsEverything: boolean;
  /** Whether it sorts the documents that it has found, rather than read an index in the order of the sort. */
  readonly sortsInMemory: boolean;
  /** Whether an index is used that holds a part of the collection only: other values may not be served by it. */
  readonly usesPartialIndex: boolean;
}

/**
 * Asks the server's own planner (`explain`), which runs nothing.
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

/** Stages lie in one another in several ways: `inputStage(s)`, per shard, and per engine (`queryPlan`, from 5.0 on). */
function* stagesOf(value: unknown): Generator<Document> {
  if (Array.isArray(value)) {
    for (const item of value) yield* stagesOf(item);
  } else if (typeof value === "object" && value !== null) {
    if ("stage" in value) yield value;
    // Plans that were weighed and rejected say nothing about the one that would run.
    for (const [key, part] of Object.entries(value)) if (key !== "rejectedPlans") yield* stagesOf(part);
  }
}
