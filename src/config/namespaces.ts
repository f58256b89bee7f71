import { STATE_PREFIX } from "../source/mongo.ts";
import type { Namespace } from "../source/preflight.ts";
import { RULE_SETS } from "../source/rule-set-store.ts";
import type { Config } from "./config.ts";

type Named = Pick<Config, "collections" | "mongodb">;
type WithRules = Named & Pick<Config, "rules">;

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

/** `database.collection`. */
export const nameOf = ({ database, collection }: Namespace): string => `${database}.${collection}`;

/** `database.collection` of each. */
export const namesOf = (config: Named): string[] => namespacesOf(config).map(nameOf);

/**
 * The prefix of the service's own collections. In a database of their own they need none. In a database with other
 * collections they have a prefix, and the configuration refuses other collections with it. Rules in the database may
 * name any collection at any time, so there the prefix depends on the names of the databases alone.
 */
export function statePrefixOf(config: WithRules): string {
  const { database, stateDatabase } = config.mongodb;
  if (config.rules.from === "database") return database === stateDatabase ? STATE_PREFIX : "";
  return namespacesOf(config).some((named) => named.database === stateDatabase) ? STATE_PREFIX : "";
}

/** The collection of the rule sets. */
export const ruleSetsOf = (config: WithRules): Namespace => ({
  database: config.mongodb.stateDatabase,
  collection: statePrefixOf(config) + RULE_SETS,
});
