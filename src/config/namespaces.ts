import { STATE_PREFIX } from "../source/mongo.ts";
import type { Namespace } from "../source/preflight.ts";
import type { Config } from "./config.ts";

type Named = Pick<Config, "collections" | "mongodb">;

/** The collections to watch: those that clients may see, and those that only lookups read. */
export function namespacesOf({ collections, mongodb }: Named): Namespace[] {
  const named = new Map<string, Namespace>();
  const add = (database: string, collection: string) =>
    named.set(`${database}.${collection}`, { database, collection });
  for (const [name, options] of Object.entries(collections)) {
    const database = options.database ?? mongodb.database;
    add(database, options.collection ?? name);
    for (const lookup of Object.values(options.lookups ?? {}))
      add(lookup.database ?? database, lookup.collection);
  }
  return [...named.values()];
}

/** `database.collection` of each. */
export const namesOf = (config: Named): string[] =>
  namespacesOf(config).map(({ database, collection }) => `${database}.${collection}`);

/**
 * The prefix of the service's own collections. In a database of their own they need none. In a database with other
 * collections they have a prefix, and the configuration refuses other collections with it.
 */
export function statePrefixOf(config: Named): string {
  const { stateDatabase } = config.mongodb;
  return namespacesOf(config).some(({ database }) => database === stateDatabase) ? STATE_PREFIX : "";
}
