/** A service that a whole table of scenarios uses, in this process, on the shared mongod. */
import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import type { Config } from "../../src/config/config.ts";
import { type Service, startService } from "../../src/server.ts";
import { sharedMongod } from "../support/mongod.ts";
import { type TestServiceOptions, testConfig, toConfig } from "../support/service.ts";

/**
 * The rules that scenarios play under. `notes`: everybody their own, admins all; `board`: what is public, also
 * for those who are nobody; `team` and `teams`: that of a claim, those of a list; `staff`: admins only; `ticker`: changes, but no snapshots; `counts`: counts
 * and groups, but no documents; `plain`: the reverse.
 */
export const COLLECTIONS = {
  notes: {
    rules: [
      { name: "admin", when: { "%%user.roles": { $in: ["admin"] } } },
      {
        name: "owner",
        when: { "%%user.sub": { $exists: true } },
        filter: { owner: "%%user.sub" },
        fields: { exclude: ["secret", "inner.hidden"] },
      },
    ],
  },
  board: {
    collection: "notes",
    rules: [
      {
        name: "everybody",
        anonymous: true,
        filter: { public: true },
        fields: { include: ["owner", "title"] },
      },
    ],
  },
  team: { collection: "notes", rules: [{ name: "member", filter: { team: "%%user.team" } }] },
  teams: { collection: "notes", rules: [{ name: "member", filter: { team: { $in: "%%user.teams" } } }] },
  staff: { rules: [{ name: "admin", when: { "%%user.roles": { $in: ["admin"] } } }] },
  ticker: {
    collection: "notes",
    rules: [{ name: "owner", filter: { owner: "%%user.sub" }, allow: { snapshot: false } }],
  },
  counts: {
    collection: "notes",
    rules: [{ name: "owner", filter: { owner: "%%user.sub" }, allow: { documents: false } }],
  },
  plain: {
    collection: "notes",
    rules: [{ name: "owner", filter: { owner: "%%user.sub" }, allow: { aggregate: false } }],
  },
};

export interface SharedService {
  readonly service: Service;
  readonly client: MongoClient;
  readonly database: string;
  readonly stateDatabase: string;
  readonly file: Record<string, unknown>;
  /** `ws://…/v1/ws` */
  readonly url: string;
  /** Lets an edited configuration file take effect. */
  reload(file: Record<string, unknown>): Promise<void>;
  /** Stops the service and starts another one on the same database. */
  restart(): Promise<SharedService>;
  stop(): Promise<void>;
}

export async function startShared(
  options: Partial<TestServiceOptions> = {},
  uri = sharedMongod(),
): Promise<SharedService> {
  const client = await new MongoClient(uri).connect();
  const database = `test-${randomBytes(6).toString("hex")}`;
  // The scenarios of a table write at the same time. Without any history, a client would be reset if its process paused.
  const history = { window: "1m" };
  const file = testConfig(uri, database, { collections: COLLECTIONS, history, ...options });
  return start(file, client, database);
}

async function start(
  file: Record<string, unknown>,
  client: MongoClient,
  database: string,
): Promise<SharedService> {
  const config: Config = toConfig(file);
  const service = await startService(config, pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "silent" }));
  while (!service.readiness().ready) await new Promise((resolve) => setTimeout(resolve, 5));
  return {
    service,
    client,
    database,
    stateDatabase: config.mongodb.stateDatabase,
    file,
    url: `ws://127.0.0.1:${service.address.port}/v1/ws`,
    reload: (edited) => service.reload(toConfig(edited)),
    async restart() {
      await service.stop();
      return start(file, client, database);
    },
    async stop() {
      await service.stop();
      await client.db(database).dropDatabase();
      await client.db(config.mongodb.stateDatabase).dropDatabase();
      await client.close();
    },
  };
}
