import {
  type Collection,
  type CollectionOptions,
  type Db,
  type DbOptions,
  type Document,
  MongoClient,
  type MongoClientOptions,
  type TopologyDescription,
  type TopologyDescriptionChangedEvent,
} from "mongodb";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { StateDatabase } from "./state-database.ts";

/**
 * Together with `connectTimeout`, this is how long the event loop may be busy before a healthy server is taken for
 * gone. In milliseconds.
 */
const HEARTBEAT_MS = 2_000;

/**
 * Client options that decide how the service notices that a server is gone or back. A frozen node, or one behind a lost
 * route, closes no connection. The driver notices a heartbeat without an answer after `connectTimeoutMs` and one
 * heartbeat interval, and then fails the operations that wait for that node. Long reads are not limited.
 */
export const clientOptions = (connectTimeoutMs: number): MongoClientOptions => ({
  serverSelectionTimeoutMS: Math.max(5_000, 2 * connectTimeoutMs),
  connectTimeoutMS: connectTimeoutMs,
  heartbeatFrequencyMS: HEARTBEAT_MS,
});

/**
 * A `MongoClient` that is replaced when it can never work again. The driver (7.9) has three such states, and does not
 * recover from any of them:
 * - The first connect failed. The topology is closed but kept, and every operation fails with
 * `MongoTopologyClosedError`.
 * - No server is left. Each one answered as a member of no set or of another one (a mongod restarted alone for
 * maintenance), which removes it from the topology, and nothing adds it again.
 * - A server once answered as a standalone one. The topology stays `Single`, and reads go to that server, primary or
 * not.
 */
export class ReplaceableClient {
  readonly #uri: string;
  readonly #options: MongoClientOptions;
  readonly #parts: GuardParts;
  readonly #onReplaced: (reason: string) => void;
  #client: MongoClient;
  #closed = false;

  /** @param onReplaced Called after each replacement, with the reason in words. */
  constructor(
    uri: string,
    options: MongoClientOptions,
    parts: GuardParts,
    onReplaced: (reason: string) => void = () => {},
  ) {
    this.#uri = uri;
    this.#options = options;
    this.#parts = parts;
    this.#onReplaced = onReplaced;
    this.#client = this.#create();
  }

  /** The client at this moment, for objects that must use the same client throughout, such as a session. */
  get current(): MongoClient {
    return this.#client;
  }

  db(name?: string, options?: DbOptions): Db {
    return this.#client.db(name, options);
  }

  /** A database whose operations each use the client of that moment. */
  stateDatabase(name: string): StateDatabase {
    return {
      collection: <T extends Document>(collection: string, options?: CollectionOptions): Collection<T> =>
        this.#client.db(name).collection<T>(collection, options),
      command: (command, options) => this.#client.db(name).command(command, options),
    };
  }

  /** Abandons the current client, whatever its state. Operations that wait for it fail. */
  replace(reason: string): void {
    if (this.#closed) return;
    const abandoned = this.#client;
    this.#client = this.#create();
    // Not awaited, because closing waits for the node that does not answer.
    abandoned.close().catch(() => {}); // this client is not used again
    this.#onReplaced(reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#client.close();
  }

  #create(): MongoClient {
    const client = new MongoClient(this.#uri, this.#options);
    const replaceNow = guarded(this.#parts, "mongodb.replace", (reason: string) => {
      if (client === this.#client) this.replace(reason);
    });
    // Deferred, because inside its own event the driver has not finished its work yet.
    const replaceSoon = (reason: string | null) => {
      if (reason !== null) setImmediate(replaceNow, reason);
    };
    const closed = guarded(this.#parts, "mongodb.closed", () => replaceSoon("the driver has closed it"));
    const changed = guarded(
      this.#parts,
      "mongodb.topology",
      ({ newDescription }: TopologyDescriptionChangedEvent) =>
        replaceSoon(unusable(newDescription, client.options.directConnection)),
    );
    return client.on("topologyClosed", closed).on("topologyDescriptionChanged", changed);
  }
}

/** Why the topology can never be used again; `null` if it can. */
function unusable({ type, servers }: TopologyDescription, isDirect: boolean): string | null {
  if (servers.size === 0) return "no server of the set is left in it";
  if (type !== "Single" || isDirect) return null;
  const isMember = [...servers.values()].some((server) => server.type.startsWith("RS"));
  return isMember ? "it took a member of a replica set for a standalone server" : null;
}
