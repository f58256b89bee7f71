import type { z } from "zod";
import { PRESENCE } from "../rules/presence-options.ts";
import { STATE_PREFIX } from "../source/mongo.ts";
import type { Namespace } from "../source/preflight.ts";
import { RULE_SETS } from "../source/rule-set-store.ts";
import type { ConfigSchema } from "./config-schema.ts";

type Config = z.output<typeof ConfigSchema>;
/** The parts of a configuration that name collections. */
interface Named extends Pick<Config, "collections" | "rules"> {
  readonly mongodb: Pick<Config["mongodb"], "database" | "stateDatabase">;
  readonly presence?: Config["presence"];
}

/** The collections to watch: those that clients may see, and those that only lookups read. */
export function namespacesOf(config: Named): Namespace[] {
  const named = new Map<string, Namespace>();
  for (const namespace of ordinaryNamespaces(config)) named.set(nameOf(namespace), namespace);
  if (config.presence !== undefined) {
    const entries = presenceOf(config);
    named.set(nameOf(entries), entries);
  }
  return [...named.values()];
}

/** All but the collection of the entries of presence, which is the service's own. It may occur several times. */
function* ordinaryNamespaces({ collections, mongodb, presence }: Named): Generator<Namespace> {
  for (const [name, options] of Object.entries(collections)) {
    const database = options.database ?? mongodb.database;
    const isOwn = presence !== undefined && name === PRESENCE;
    if (!isOwn) yield { database, collection: options.collection ?? name };
    // A lookup of the entries is in the database of the other collections, unless it names another.
    const from = isOwn ? mongodb.database : database;
    for (const lookup of Object.values(options.lookups ?? {}))
      yield { database: lookup.database ?? from, collection: lookup.collection };
  }
  for (const lookup of Object.values(presence?.lookups ?? {}))
    yield { database: lookup.database ?? mongodb.database, collection: lookup.collection };
}

/** The collection of the entries of presence. */
export const presenceOf = (config: Named): Namespace => ({
  database: config.mongodb.stateDatabase,
  collection: statePrefixOf(config) + PRESENCE,
});

/**
 * A configuration whose collection `presence`, if there are entries, names its collection in the state database. It is to
 * be placed after the checks, which let no other collection be there.
 */
export function withPresencePlaced<C extends Named>(config: C): C {
  const { [PRESENCE]: options } = config.collections;
  if (config.presence === undefined || options === undefined || options.database !== undefined) return config;
  const lookups = Object.entries(options.lookups ?? {}).map(
    ([name, lookup]) => [name, { ...lookup, database: lookup.database ?? config.mongodb.database }] as const,
  );
  const placed = {
    ...options,
    ...presenceOf(config),
    ...(options.lookups === undefined ? {} : { lookups: Object.fromEntries(lookups) }),
  };
  return { ...config, collections: { ...config.collections, [PRESENCE]: placed } };
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
export function statePrefixOf(config: Named): string {
  const { database, stateDatabase } = config.mongodb;
  if (config.rules.from === "database") return database === stateDatabase ? STATE_PREFIX : "";
  return [...ordinaryNamespaces(config)].some((named) => named.database === stateDatabase)
    ? STATE_PREFIX
    : "";
}

/** The collection of the rule sets. */
export const ruleSetsOf = (config: Named): Namespace => ({
  database: config.mongodb.stateDatabase,
  collection: statePrefixOf(config) + RULE_SETS,
});
