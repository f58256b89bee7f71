/** The service under which a scenario plays, in this process, on a database of its own. */
import { randomBytes } from "node:crypto";
import { SignJWT } from "jose";
import { BSON, type Db, type MongoClient } from "mongodb";
import { pino } from "pino";
import { stringify } from "yaml";
import { parseConfig } from "../config/config.ts";
import { type Service, startService } from "../server.ts";

type Part = Readonly<Record<string, unknown>>;

/** The rules of scenarios that have none of their own: everybody their own notes, and admins all. */
const COLLECTIONS = {
  notes: {
    rules: [
      { name: "admin", when: { "%%user.admin": true } },
      { name: "owner", filter: { owner: "%%user.sub" }, fields: { exclude: ["secret"] } },
    ],
  },
};

const READY_POLL_MS = 5;

export class Deployment {
  readonly db: Db;
  readonly client: MongoClient;
  readonly #uri: string;
  readonly #stateDatabase: string;
  readonly #secret = randomBytes(32).toString("hex");
  #options: Readonly<Record<string, Part>>;
  #service: Service | undefined;
  /** Nodes that drain. */
  readonly #ending: Promise<void>[] = [];

  private constructor(client: MongoClient, uri: string, options: Readonly<Record<string, Part>>) {
    const database = `kit-${randomBytes(6).toString("hex")}`;
    this.client = client;
    this.db = client.db(database);
    this.#uri = uri;
    this.#stateDatabase = `${database}-state`;
    this.#options = options;
  }

  static async start(
    client: MongoClient,
    uri: string,
    options: Readonly<Record<string, Part>>,
  ): Promise<Deployment> {
    const deployment = new Deployment(client, uri, options);
    deployment.#service = await deployment.#start();
    return deployment;
  }

  /** Where new connections go, as `ws://127.0.0.1:…`. */
  get url(): string {
    return `ws://127.0.0.1:${this.#service?.address.port}`;
  }

  /** A token that the service accepts for so many seconds. */
  token(claims: Part, seconds: number): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256" })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds)
      .sign(new TextEncoder().encode(this.#secret));
  }

  /** The cluster time after all writes so far, as Extended JSON. */
  async now(): Promise<Part> {
    const { operationTime } = await this.client.db("admin").command({ ping: 1 });
    return { $timestamp: { t: operationTime.t, i: operationTime.i } };
  }

  /** Runs commands in Extended JSON. A list of them is one transaction. */
  async write(commands: Part | readonly Part[]): Promise<void> {
    const read = (command: Part) => BSON.EJSON.deserialize(command);
    if (!Array.isArray(commands)) return void (await this.db.command(read(commands as Part))); // the list is excluded
    await this.client.withSession((session) =>
      session.withTransaction(async () => {
        for (const command of commands) await this.db.command(read(command), { session });
      }),
    );
  }

  /** Another node takes new connections, and this one drains. */
  async drain(): Promise<void> {
    const draining = this.#service;
    this.#service = await this.#start();
    if (draining !== undefined) this.#ending.push(draining.drain());
  }

  async restart(): Promise<void> {
    await this.#service?.stop();
    this.#service = await this.#start();
  }

  /** Puts other rules in force. */
  async edit(collections: Part): Promise<void> {
    this.#options = { ...this.#options, collections };
    await this.#service?.reload(this.#config());
  }

  async stop(): Promise<void> {
    await Promise.all([this.#service?.stop(), ...this.#ending]);
    await this.db.dropDatabase();
    await this.client.db(this.#stateDatabase).dropDatabase();
  }

  async #start(): Promise<Service> {
    const service = await startService(this.#config(), pino({ level: "silent" }));
    while (!service.readiness().ready) await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    return service;
  }

  #config() {
    const { collections = COLLECTIONS, mongodb, server, auth, limits, history, ...more } = this.#options;
    const file = {
      ...more,
      mongodb: {
        uri: this.#uri,
        database: this.db.databaseName,
        stateDatabase: this.#stateDatabase,
        checkpointInterval: "200ms",
        awaitTime: "200ms",
        ...mongodb,
      },
      // Clients come back soon, so that a scenario takes seconds.
      server: {
        port: 0,
        admin: { port: 0 },
        drainTimeout: "6s",
        reconnect: { min: "50ms", max: "1s" },
        ...server,
      },
      auth: { jwt: { algorithms: ["HS256"], secret: this.#secret, clockTolerance: "0s" }, ...auth },
      collections,
      limits: {
        connectionsPerUser: 1_000,
        connectionsPerAddress: 1_000,
        userRequestsPerSecond: 10_000,
        userRequestBurst: 10_000,
        ...limits,
      },
      // A fence is answered at once: the service has nothing to hide from the kit.
      history: { cursorStep: "0s", ...history },
      log: { level: "silent" },
    };
    const parsed = parseConfig(stringify(file), "the scenario's service", {});
    if (parsed.ok) return parsed.config;
    throw new Error(`the service of the scenario is misconfigured: ${JSON.stringify(parsed.problems)}`);
  }
}
