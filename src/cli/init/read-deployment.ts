import { MongoClient, MongoServerError, ObjectId } from "mongodb";
import { StartupError } from "../../source/startup-error.ts";

/** How long `init` waits for a server. In milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * One document of each collection is read, up to this number of collections: a database of thousands needs no example
 * for each.
 */
const SAMPLED_MAX = 50;
const SYSTEM_DATABASES = new Set(["admin", "local", "config"]);

/** A collection that rules can be written for. */
export interface FoundCollection {
  readonly name: string;
  /** The field of a document that most likely names its owner, and whether it holds an ObjectId. */
  readonly owner?: { readonly field: string; readonly isObjectId: boolean };
}

/** The database as `init` found it. */
export interface FoundDatabase {
  readonly database: string;
  readonly collections: readonly FoundCollection[];
  /** Views and time series: change streams do not report them. */
  readonly leftOut: readonly string[];
  /** A server without a replica set has no change streams. */
  readonly isStandalone: boolean;
}

/** The database that a connection string names; the driver takes "test" for one that names none. */
export function databaseOf(uri: string): string | undefined {
  const name = /^mongodb(?:\+srv)?:\/\/[^/?]+\/([^?]+)/.exec(uri)?.[1];
  return name === undefined ? undefined : decodeURIComponent(name);
}

/**
 * Connects and lists the collections of one database. Of the documents only the names of fields are used.
 * @throws {StartupError} No server answers, the login fails, or it is open which database is meant.
 */
export async function readDeployment(uri: string, named: string | undefined): Promise<FoundDatabase> {
  const client = clientOf(uri);
  try {
    await client.connect();
    const database = named ?? databaseOf(uri) ?? (await onlyDatabase(client));
    const { setName, msg } = await client.db("admin").command({ hello: 1 });
    const listed = await client
      .db(database)
      .listCollections({}, { nameOnly: false, authorizedCollections: true })
      .toArray();
    const own = listed.filter(({ name }) => !name.startsWith("system.") && isUsable(name));
    const names = own
      .filter(({ type }) => type === "collection" || type === undefined)
      .map(({ name }) => name)
      .sort();
    const owners = await Promise.all(
      names.slice(0, SAMPLED_MAX).map((name) => ownerOf(client, database, name)),
    );
    return {
      database,
      collections: names.map((name, index) => {
        const owner = owners[index];
        return owner === undefined ? { name } : { name, owner };
      }),
      leftOut: own.flatMap(({ name, type }) => (names.includes(name) ? [] : [`${name} (${type})`])),
      isStandalone: setName === undefined && msg !== "isdbgrid",
    };
  } catch (error) {
    throw error instanceof StartupError ? error : refusal(error);
  } finally {
    await client.close();
  }
}

/** Names that the configuration cannot hold. */
const isUsable = (name: string) => !name.includes("$") && name !== "__proto__";

function clientOf(uri: string): MongoClient {
  try {
    return new MongoClient(uri, {
      appName: "tidewire-cli",
      serverSelectionTimeoutMS: CONNECT_TIMEOUT_MS,
      connectTimeoutMS: CONNECT_TIMEOUT_MS,
    });
  } catch (cause) {
    // The driver's text may quote the URI, which may hold a password.
    throw new StartupError(
      "this is not a connection string of MongoDB. Write mongodb://host:port/database?replicaSet=name, or mongodb+srv://…",
      [],
      { cause },
    );
  }
}

async function onlyDatabase(client: MongoClient): Promise<string> {
  const { databases } = await client
    .db("admin")
    .admin()
    .listDatabases({ nameOnly: true, authorizedDatabases: true });
  const names = databases.map(({ name }) => name).filter((name) => !SYSTEM_DATABASES.has(name));
  const [only] = names;
  if (only !== undefined && names.length === 1) return only;
  const there = names.length === 0 ? "the deployment has none yet" : `there are ${names.join(", ")}`;
  throw new StartupError(`the URI names no database; ${there}. Add --database NAME`);
}

/** Names of fields that hold the id of a user, the usual ones first. */
const OWNER_FIELDS = /^(?:owner|user|customer|author|account|member|created_?by)(?:_?id)?$|^(?:uid|sub)$/i;

async function ownerOf(
  client: MongoClient,
  database: string,
  name: string,
): Promise<FoundCollection["owner"]> {
  try {
    const document = await client.db(database).collection(name).findOne({}, { maxTimeMS: 2_000 });
    const field = Object.keys(document ?? {}).find((key) => OWNER_FIELDS.test(key));
    return field === undefined ? undefined : { field, isObjectId: document?.[field] instanceof ObjectId };
  } catch (error) {
    // The user may list a collection that they may not read; the example is then the general one.
    if (error instanceof MongoServerError) return undefined;
    throw error;
  }
}

function refusal(cause: unknown): StartupError {
  if (cause instanceof MongoServerError) {
    const text = `MongoDB refused: ${cause.message}. Check the user and the password in the URI, and the rights of the user`;
    return new StartupError(text, [], { cause });
  }
  const text =
    `no MongoDB server answers within ${CONNECT_TIMEOUT_MS / 1_000} s at this URI. Start the server, or correct the URI. ` +
    "--offline writes the files without connecting";
  return new StartupError(text, [], { cause });
}
