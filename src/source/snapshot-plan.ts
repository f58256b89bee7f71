import type { Document } from "mongodb";
import type { MongoAccess } from "./mongo.ts";

/** How the server would find the documents of a snapshot. */
export interface SnapshotPlan {
  /** The indexes that it would use; none where it would read the whole collection. */
  readonly indexes: readonly string[];
  /** Whether some part of it reads the whole collection. */
  readonly readsEverything: boolean;
}

/**
 * Asks the server's own planner (`explain`), which runs nothing.
 * @throws The server's or the driver's error.
 */
export async function planSnapshot(
  client: MongoAccess,
  query: {
    readonly database: string;
    readonly collection: string;
    readonly filter: Document | ReadonlyMap<string, unknown>;
  },
): Promise<SnapshotPlan> {
  const { database, collection, filter } = query;
  const find = { find: collection, filter, collation: { locale: "simple" } };
  const answer = await client.db(database).command({ explain: find, verbosity: "queryPlanner" });
  const stages = [...stagesOf(answer["queryPlanner"]?.winningPlan)];
  return {
    indexes: [
      ...new Set(stages.flatMap(({ indexName }) => (typeof indexName === "string" ? [indexName] : []))),
    ],
    readsEverything: stages.some(({ stage }) => stage === "COLLSCAN"),
  };
}

/** Stages lie in one another in several ways: `inputStage(s)`, per shard, and per engine (`queryPlan`, from 5.0 on). */
function* stagesOf(value: unknown): Generator<Document> {
  if (Array.isArray(value)) {
    for (const item of value) yield* stagesOf(item);
  } else if (typeof value === "object" && value !== null) {
    if ("stage" in value) yield value;
    for (const part of Object.values(value)) yield* stagesOf(part);
  }
}
