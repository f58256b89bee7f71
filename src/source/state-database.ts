import type { Db } from "mongodb";

/**
 * The database of the service's own state. A collection is obtained for each operation, because a collection belongs to
 * one client, which may have been replaced.
 */
export type StateDatabase = Pick<Db, "collection" | "command">;
