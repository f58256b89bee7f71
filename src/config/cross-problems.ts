import type { z } from "zod";
import type { JwtOptions } from "../auth/options.ts";
import { TidewireError } from "../protocol/errors.ts";
import { PRESENCE } from "../rules/presence-options.ts";
import { parseSinkRequest } from "../sinks/sink-request.ts";
import { STATE_PREFIX } from "../source/mongo.ts";
import type { ConfigSchema } from "./config-schema.ts";
import type { Path } from "./config-text.ts";

const SYSTEM_DATABASES = new Set(["admin", "local", "config"]);

/** Contradictions between sections that are each valid; paths as in the file. */
export function* crossProblems(config: Judged): Generator<{ readonly path: Path; readonly message: string }> {
  const { mongodb, collections, limits, presence } = config;
  for (const [lookup, { database, collection }] of Object.entries(presence?.lookups ?? {})) {
    const path: Path = ["presence", "lookups", lookup];
    const problem = stateProblem(mongodb, database ?? mongodb.database, collection, path, "collection");
    if (problem !== null) yield problem;
  }
  for (const [name, options] of Object.entries(collections)) {
    const { database, rules } = options;
    const isEntries = presence !== undefined && name === PRESENCE;
    const path: Path = ["collections", name, "database"];
    if (database !== undefined && SYSTEM_DATABASES.has(database)) {
      const message = `found ${database}; allowed: a database of your own, as change streams do not open on ${database}`;
      yield { path, message };
    }
    // The keys that seal tickets are in this database, so no rule may ever reach it.
    if (isEntries) yield* placeProblems(options);
    yield* stateProblems(
      mongodb,
      name,
      isEntries ? { ...options, database: undefined, collection: undefined } : options,
    );
    for (const [index, { allow }] of rules.entries()) {
      if (allow.maxLimit === undefined || allow.maxLimit <= limits.windowSize) continue;
      const message = `found ${allow.maxLimit}; allowed: at most limits.windowSize (${limits.windowSize}). Lower it, or raise windowSize`;
      yield { path: ["collections", name, "rules", index, "allow", "maxLimit"], message };
    }
  }
  yield* sinkProblems(config);
  yield* templateProblems(config);
  yield* adminKeyProblems(config);
}

/**
 * Tokens of clients are in the hands of pages. The admin listener must not accept one because both listeners trust the
 * same keys.
 */
function* adminKeyProblems({ auth, server }: Judged): Generator<Problem> {
  const admin = server?.admin.jwt;
  if (admin === undefined) return;
  const isSameKey = (client: JwtOptions) =>
    (["secret", "publicKey", "jwksUri"] as const).some(
      (source) => admin[source] !== undefined && admin[source] === client[source],
    );
  for (const client of [auth?.jwt ?? []].flat()) {
    if (!isSameKey(client) || areApart(admin.audience, client.audience)) continue;
    const message =
      "auth.jwt trusts the same keys, so a token of a client could open the admin listener; allowed: keys of its own, or an audience that no entry of auth.jwt has. Set audience in both sections, to different values";
    yield { path: ["server", "admin", "jwt"], message };
    return;
  }
}

/** Whether no token of a client can have an audience of admins. Without audiences of their own, clients may have any. */
function areApart(admin: JwtOptions["audience"], client: JwtOptions["audience"]): boolean {
  if (admin === undefined || client === undefined) return false;
  const ofClients = new Set([client].flat());
  return ![admin].flat().some((audience) => ofClients.has(audience));
}

/** A sink asks as a client does, and a refusal at run time would be a sink that never begins. */
function* sinkProblems({ sinks, collections, limits, rules }: Judged): Generator<Problem> {
  for (const [name, sink] of Object.entries(sinks)) {
    if (rules.from === "file" && !Object.hasOwn(collections, sink.collection)) {
      const message = `found ${sink.collection}; allowed: a name of the section collections. Add it there, with an empty list of rules if no client may see it`;
      yield { path: ["sinks", name, "collection"], message };
    }
    try {
      parseSinkRequest(sink, limits);
    } catch (error) {
      if (!(error instanceof TidewireError)) throw error;
      const path = sink.aggregate !== undefined && error.code === "bad-request" ? "aggregate" : "filter";
      yield {
        path: ["sinks", name, path],
        message: `${error.message}. Write it as a client's request may have it`,
      };
    }
  }
}

type Whole = z.output<typeof ConfigSchema>;
type Databases = Pick<Whole["mongodb"], "database" | "stateDatabase">;
/** The parts that can contradict each other. */
interface Judged extends Pick<Whole, "collections" | "limits" | "presence" | "sinks" | "rules"> {
  readonly mongodb: Databases;
  /** Absent where a rule set is judged alone. */
  readonly push?: Pick<Whole["push"], "templates">;
  readonly auth?: Pick<Whole["auth"], "jwt">;
  readonly server?: { readonly admin: Pick<Whole["server"]["admin"], "jwt"> };
}
type Problem = { readonly path: Path; readonly message: string };

/** The entries of presence have a place of their own. */
function* placeProblems(options: Whole["collections"][string]): Generator<Problem> {
  for (const field of ["database", "collection"] as const) {
    if (options[field] === undefined) continue;
    const message = `found ${options[field]}; allowed: nothing, as the service keeps the entries of the section presence in mongodb.stateDatabase. Remove it, or give this collection another name`;
    yield { path: ["collections", PRESENCE, field], message };
  }
}

/** A misspelt name would leave notifications without a text. With rules in the database the names are not known here. */
function* templateProblems({ push, collections }: Judged): Generator<Problem> {
  const names = Object.keys(collections);
  if (names.length === 0) return;
  for (const name of Object.keys(push?.templates ?? {})) {
    if (Object.hasOwn(collections, name)) continue;
    const message = `found ${name}; allowed: a name under collections (${names.join(", ")})`;
    yield { path: ["push", "templates", name], message };
  }
}

/** A collection in the state database must not be one of the service's own. */
function* stateProblems(
  { database, stateDatabase }: Databases,
  name: string,
  options: Whole["collections"][string],
): Generator<Problem> {
  const own = options.database ?? database;
  const at: Path = ["collections", name];
  const isMixed = database === stateDatabase;
  const problemOf = (of: string, collection: string, path: Path, field: string): Problem | null =>
    stateProblem({ database, stateDatabase }, of, collection, path, field);
  const field = options.collection === undefined ? "" : "collection";
  const found = problemOf(own, options.collection ?? name, at, field);
  if (found !== null) yield found;
  for (const [lookup, { database: of = own, collection }] of Object.entries(options.lookups ?? {})) {
    // One problem is enough if the lookup is in the same database as its collection.
    if (found !== null && of === own && !isMixed) continue;
    const problem = problemOf(of, collection, [...at, "lookups", lookup], "collection");
    if (problem !== null) yield problem;
  }
}

/** Why a collection may not be named; `null` if it may. The keys that seal tickets are in the state database. */
function stateProblem(
  { database, stateDatabase }: Databases,
  of: string,
  collection: string,
  path: Path,
  field: string,
): Problem | null {
  if (of !== stateDatabase) return null;
  if (database !== stateDatabase) {
    const reason = "the service keeps its keys in mongodb.stateDatabase, which is a database of its own here";
    const message = `found ${of}; allowed: another database, as ${reason}. Write another one`;
    return { path: [...path, "database"], message };
  }
  if (!collection.startsWith(STATE_PREFIX)) return null;
  const message = `found ${collection}; allowed: a name that does not begin with ${STATE_PREFIX}, as the service's own collections have such names in mongodb.stateDatabase. Name another collection`;
  return { path: field === "" ? path : [...path, field], message };
}
