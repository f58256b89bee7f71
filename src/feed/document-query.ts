import { toMongo } from "../match/to-mongo.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";

/**
 * The query that finds the documents of a live query. It is built on each call, because it is rarely needed, and keeping
 * it would cost every live query memory.
 */
export const documentQueryOf = (
  { filter, database, collectionName: collection }: LiveQuerySpec,
  maxTimeMs: number,
): SnapshotQuery => ({ database, collection, filter: toMongo(filter), maxTimeMs });
