/** One run of the simulation: users who come and go, writers, and everything that may befall a service meanwhile. */
import { setTimeout as pause } from "node:timers/promises";
import { type Collection, type Db, MongoClient, MongoError } from "mongodb";
import { expect, onTestFinished } from "vitest";
import { Judge } from "../support/judge.ts";
import { ModelClient, type ModelSubscription } from "../support/model-client.ts";
import { type ReplicaSet, startReplicaSet, testDatabase, until } from "../support/mongod.ts";
import { Oracle } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { RandomWriter } from "../support/random-writer.ts";
import { pushRules } from "../support/rule-sets.ts";
import { signToken, testConfig } from "../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { readsTail } from "../support/tail-fleet.ts";
import {
  type Claims,
  findAt,
  GROUPS,
  MEMBERS,
  RARE,
  type Rules,
  randomClaims,
  randomRequest,
  randomRules,
  SUBS,
  THINGS,
} from "./simulation-world.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const SUBSCRIPTIONS_MAX = 4;
/** Of the cursors of changes, so many are compared; of watermarks and snapshots all. */
const SAMPLED = 0.02;

export interface SimulationOptions {
  readonly seed: number;
  readonly operations: number;
  readonly images: "auto" | "off";
  /** Where the rules are, and so how an edit takes effect. */
  readonly from: "file" | "database";
  /** Three members, whose primary steps down now and then. */
  readonly stepsDown: boolean;
  /** The URL of a Redis: the node and its successors read the shared tail. */
  readonly redisUrl?: string | undefined;
}

/** Somebody with a token, some subscriptions, and a connection that comes and goes. */
class App {
  claims: Claims;
  connection: ModelClient | undefined;
  away: ModelSubscription[] = [];
  /** Which rules and claims are in force for this connection is known: nothing has just been changed. */
  isSettled = true;
  readonly values: "json" | "ejson";
  next = 0;

  constructor(claims: Claims, values: "json" | "ejson") {
    this.claims = claims;
    this.values = values;
  }
}

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #sampling: Random;
  readonly #judge = new Judge();
  readonly #apps: App[];
  readonly #counts: Record<string, number> = {};
  readonly #faults: string[] = [];
  readonly #mongo: MongoClient;
  readonly #database: string;
  readonly #set: ReplicaSet | undefined;
  readonly #service: SpawnedService;
  readonly #oracle: Oracle;
  readonly #config: (rules: Rules) => ServiceConfig;
  #rules: Rules;
  #members = 0;
  #collectionsRead = 0;

  private constructor(
    options: SimulationOptions,
    random: Random,
    rules: Rules,
    parts: {
      mongo: MongoClient;
      database: string;
      set: ReplicaSet | undefined;
      service: SpawnedService;
      config: (rules: Rules) => ServiceConfig;
    },
  ) {
    this.#options = options;
    this.#random = random;
    this.#sampling = random.fork();
    this.#rules = rules;
    this.#mongo = parts.mongo;
    this.#database = parts.database;
    this.#set = parts.set;
    this.#service = parts.service;
    this.#config = parts.config;
    this.#oracle = new Oracle(parts.mongo, `${parts.database}-state`);
    this.#apps = [...SUBS, ...SUBS].map(
      (sub, index) => new App(randomClaims(random, sub), index % 2 === 0 ? "json" : "ejson"),
    );
  }

  static async start(options: SimulationOptions): Promise<Simulation> {
    const random = new Random(options.seed);
    const set = options.stepsDown ? await startReplicaSet() : undefined;
    if (set !== undefined) onTestFinished(() => set.stop());
    const { name, uri } = set === undefined ? await testDatabase() : { name: "simulation", uri: set.uri };
    const mongo = await MongoClient.connect(uri, { serverSelectionTimeoutMS: PATIENCE.timeout });
    onTestFinished(() => mongo.close());
    const rules = randomRules(random);
    const small = random.chance(0.3);
    const history = { window: random.pick(["0s", "1s", "60s"]), cursorStep: random.pick(["0s", "1s"]) };
    const config = ({ collections }: Rules): ServiceConfig => {
      const { mongodb, ...file } = testConfig(uri, name, {
        collections,
        mongodb: {
          images: options.images,
          awaitTime: "100ms",
          stream: { unfollowedAfter: "1s" },
          ...(options.redisUrl === undefined ? {} : { tail: { redis: { url: options.redisUrl } } }),
        },
        server: { heartbeat: "1s" },
        history,
        rules: { nowStep: "1s", from: options.from },
        limits: {
          requestBurst: 100_000,
          userRefreshBurst: 100_000,
          linger: "1s",
          commitSlice: random.chance(0.5) ? "0ms" : "50ms",
          ...(small ? { snapshotBatchBytes: "1KiB", outboxBytes: "64KiB" } : {}),
        },
      });
      // `testConfig` gives every section of the file.
      return { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
    };
    const db = mongo.db(name);
    await Promise.all([THINGS, MEMBERS, ...RARE].map((collection) => db.createCollection(collection)));
    if (options.from === "database") await pushRules(mongo, name, rules.collections);
    const service = await spawnService({ config: config(rules) });
    const simulation = new Simulation(options, random, rules, {
      mongo,
      database: name,
      set,
      service,
      config,
    });
    await until("the first epoch", () => simulation.#oracle.learnEpoch().catch(() => undefined));
    return simulation;
  }

  /** Runs to the end and compares all the way. @returns Counts, for the log. */
  async run(): Promise<Record<string, unknown>> {
    const db = this.#mongo.db(this.#database);
    const writers = [THINGS, THINGS, ...RARE].map(
      (collection) => new RandomWriter(this.#mongo, db, collection, this.#random.fork()),
    );
    const memberships = new Membership(db, this.#random.fork());
    const written = () =>
      writers.reduce((sum, { written: { operations } }) => sum + operations, memberships.operations);
    const isOverTail = this.#options.redisUrl !== undefined;
    if (isOverTail) await expect.poll(() => readsTail(this.#service), PATIENCE).toBe(true);
    await this.#everybody(async (app) => {
      await this.#join(app);
      await this.#subscribe(app);
    });
    const burst = Math.max(1_500, Math.ceil(this.#options.operations / 12));
    while (written() < this.#options.operations) {
      let isWriting = true;
      const writing = Promise.all([
        ...writers.map((writer) => patiently(writer, burst / writers.length)),
        memberships.write(() => isWriting),
      ]);
      const end = written() + burst;
      const enough = (async () => {
        while (written() < end) await pause(20);
        isWriting = false;
      })();
      while (isWriting) {
        await this.#act();
        await this.#noteReading();
        await pause(this.#random.int(0, 60)); // so that the writes get their turn
      }
      await Promise.all([writing, enough]);
      await this.#everybody((app) => this.#join(app));
      await this.#untilWatermarked();
      await this.#judge.settled();
      this.#members = memberships.operations;
      if (isOverTail && (await readsTail(this.#service)))
        this.#count("bursts read to their end from the tail");
      this.#expectFlawless();
    }
    for (const app of this.#apps) this.#leave(app);
    const { compared, unreadable } = this.#judge;
    return { ...this.#counts, operations: written(), memberships: this.#members, ...compared, unreadable };
  }

  #expectFlawless(): void {
    const faults = [...this.#faults, ...this.#apps.flatMap(({ connection }) => connection?.faults ?? [])];
    const { differences } = this.#judge;
    const few = { faults: faults.slice(0, 20), differences: differences.slice(0, 10) };
    expect(few, `seed ${this.#options.seed}`).toEqual({ faults: [], differences: [] });
  }

  async #everybody(work: (app: App) => Promise<void>): Promise<void> {
    for (const app of this.#apps) await work(app);
  }

  /** Whatever may happen to a client or to the service. */
  async #act(): Promise<void> {
    const app = this.#random.pick(this.#apps);
    const choice = this.#random.next();
    if (choice < 0.3) await this.#subscribe(app);
    else if (choice < 0.42) await this.#unsubscribe(app);
    else if (choice < 0.6) this.#leave(app);
    else if (choice < 0.85) await this.#join(app);
    else if (choice < 0.95) await this.#refresh(app);
    else if (choice < 0.985) await this.#edit();
    else await this.#strike();
  }

  /** Counts how often the service was seen to leave out a collection, and to read it again. */
  async #noteReading(): Promise<void> {
    if (!this.#random.chance(0.1)) return;
    const text = await fetch(`${this.#service.adminUrl}/metrics`).then(
      (answer) => answer.text(),
      () => "",
    );
    const read = Number(/^tidewire_collections_read (\d+)$/m.exec(text)?.[1] ?? this.#collectionsRead);
    if (read < this.#collectionsRead) this.#count("collections left out");
    if (read > this.#collectionsRead) this.#count("collections read again");
    this.#collectionsRead = read;
  }

  #count(what: string, by = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + by;
  }

  async #join(app: App): Promise<void> {
    for (;;) {
      if (app.connection !== undefined && app.connection.closed === undefined) return;
      this.#leave(app);
      const connection = await this.#connect(app);
      if (connection === undefined) {
        await pause(this.#random.int(20, 200));
        continue;
      }
      app.connection = connection;
      app.isSettled = true;
      const back = app.away.splice(0);
      for (const subscription of back) await this.#ask(app, connection, subscription);
    }
  }

  async #ask(app: App, connection: ModelClient, subscription: ModelSubscription): Promise<void> {
    const { id, request, held } = subscription;
    for (;;) {
      const answer = await connection.subscribe(id, request, held);
      if (answer === undefined) {
        app.away.push(subscription); // the connection has ended: another time
        return;
      }
      if (answer.type === "subscribed") return;
      if (answer.code !== "unavailable") throw new Error(`${answer.code}: ${answer.message}`);
      await pause(100);
    }
  }

  async #connect(app: App): Promise<ModelClient | undefined> {
    const token = await signToken({ ...app.claims });
    const connection: ModelClient | undefined = await ModelClient.connect(
      `${this.#service.url.replace("http", "ws")}/v1/ws`,
      {
        token,
        values: app.values,
        decode: (cursor) => this.#oracle.decode(cursor),
        onPoint: (held, id, by) => {
          const request = connection?.subscriptions.get(id)?.request;
          if (request === undefined || !app.isSettled) return;
          const kind = by === "watermark" || by === "snapshot" ? by : "change";
          if (kind === "change" && !this.#sampling.chance(SAMPLED)) return;
          const { claims } = app;
          const asked = { grant: this.#rules.grantOf(claims), claims, request };
          this.#judge.compare(
            held,
            (cursor, mode) => findAt(this.#oracle, this.#database, asked, { cursor, mode }),
            kind,
            () => JSON.stringify({ ...asked, file: this.#rules.collections }),
            request.sort !== undefined,
          );
        },
      },
    );
    this.#count("connections");
    return connection;
  }

  #leave(app: App): void {
    const { connection } = app;
    if (connection === undefined) return;
    app.connection = undefined;
    app.away.push(...connection.drop());
    this.#faults.push(...connection.faults);
    for (const [start, count] of Object.entries(connection.starts)) this.#count(start, count);
  }

  async #subscribe(app: App): Promise<void> {
    const { connection } = app;
    if (connection === undefined || connection.subscriptions.size >= SUBSCRIPTIONS_MAX) return;
    const request = randomRequest(this.#random);
    await this.#ask(app, connection, { id: `s${app.next++}`, request, held: undefined });
  }

  async #unsubscribe({ connection }: App): Promise<void> {
    const ids = [...(connection?.subscriptions.keys() ?? [])];
    if (ids.length > 1) await connection?.unsubscribe(this.#random.pick(ids)).catch(() => {});
  }

  /** A newer token, with other claims. */
  async #refresh(app: App): Promise<void> {
    const { connection } = app;
    const claims = randomClaims(this.#random, app.claims.sub);
    if (connection === undefined || connection.closed !== undefined) {
      app.claims = claims;
      return;
    }
    app.isSettled = false;
    const token = await signToken({ ...claims });
    // An earlier refresh received `refreshed`, too.
    const from = connection.client.received.length;
    connection.client.send({ type: "refresh", token });
    const isRefreshed = await connection.client
      .until(({ type }) => type === "refreshed", from)
      .catch(() => undefined);
    if (isRefreshed === undefined) {
      // Which of the two tokens held is not known any more: it comes back with the new one.
      app.claims = claims;
      this.#leave(app);
      return;
    }
    await this.#settle(app, () => {
      app.claims = claims;
    });
    this.#count("refreshes");
  }

  /** From here on the connection knows what was decided; compare again, by what it was decided to. */
  async #settle(app: App, adopt: () => void): Promise<void> {
    const { connection } = app;
    const stands = connection !== undefined && (await connection.sync());
    adopt();
    if (!stands) this.#leave(app);
    app.isSettled = true;
  }

  /** An edit of the rules while all goes on. */
  async #edit(): Promise<void> {
    const rules = randomRules(this.#random);
    if (JSON.stringify(rules.collections) === JSON.stringify(this.#rules.collections)) return;
    const generation = async () => {
      const answer = await fetch(`${this.#service.adminUrl}/readyz`);
      return ((await answer.json()) as { rulesGeneration: number }).rulesGeneration;
    };
    const before = await generation();
    for (const app of this.#apps) app.isSettled = false;
    if (this.#options.from === "database") await pushRules(this.#mongo, this.#database, rules.collections);
    else {
      await this.#service.writeConfig(this.#config(rules));
      this.#service.signal("SIGHUP");
    }
    await expect.poll(generation, PATIENCE).toBeGreaterThan(before);
    this.#rules = rules;
    for (const app of this.#apps) await this.#settle(app, () => {});
    this.#count("edits");
  }

  /** The service is killed; or the primary steps down. */
  async #strike(): Promise<void> {
    if (this.#set !== undefined && this.#random.chance(0.6)) {
      await this.#set.stepDown();
      this.#count("step-downs");
      return;
    }
    await this.#service.kill("SIGKILL");
    await this.#service.start();
    this.#count("kills");
  }

  /** Waits until every connection has received a watermark after the last write. */
  async #untilWatermarked(): Promise<void> {
    const { operationTime } = await this.#mongo.db("admin").command({ ping: 1 });
    const end: bigint = operationTime.toBigInt();
    const isLate = ({ held }: ModelSubscription) =>
      held?.phase !== "following" || this.#oracle.decode(held.cursor).clusterTime < end;
    const late = () =>
      this.#apps.flatMap(({ claims, connection }) =>
        [...(connection?.subscriptions.values() ?? [])]
          .filter(isLate)
          .map(({ id, request, held }) => ({ user: claims.sub, id, request, phase: held?.phase })),
      );
    await expect.poll(late, PATIENCE).toEqual([]);
  }
}

/** Goes on writing through elections. */
async function patiently(writer: RandomWriter, operations: number): Promise<void> {
  const end = writer.written.operations + operations;
  while (writer.written.operations < end) {
    try {
      await writer.write(end - writer.written.operations);
    } catch (error) {
      if (!(error instanceof MongoError)) throw error;
      await pause(100);
    }
  }
}

/** Changes the members of groups, sometimes together with a thing in one transaction. */
class Membership {
  operations = 0;
  readonly #db: Db;
  readonly #random: Random;

  constructor(db: Db, random: Random) {
    this.#db = db;
    this.#random = random;
  }

  async write(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      try {
        await (this.#random.chance(0.3) ? this.#together() : this.#alone());
        this.operations++;
      } catch (error) {
        if (!(error instanceof MongoError)) throw error;
      }
      await pause(this.#random.int(5, 60));
    }
  }

  get #members(): Collection<{ _id: number; user: string; group: string; active: boolean }> {
    return this.#db.collection(MEMBERS);
  }

  async #alone(session?: ReturnType<MongoClient["startSession"]>): Promise<void> {
    const options = session === undefined ? {} : { session };
    const _id = this.#random.int(0, 11);
    if (this.#random.chance(0.3)) {
      await this.#members.deleteOne({ _id }, options);
      return;
    }
    const user = this.#random.pick(SUBS);
    const set = { user, group: this.#random.pick(GROUPS), active: this.#random.chance(0.7) };
    await this.#members.updateOne({ _id }, { $set: set }, { upsert: true, ...options });
  }

  async #together(): Promise<void> {
    const things = this.#db.collection<{ _id: number }>(THINGS);
    await this.#db.client.withSession((session) =>
      session.withTransaction(async () => {
        const kind = this.#random.pick(GROUPS);
        const set = { $set: { kind, n: this.#random.int(0, 9) } };
        await things.updateOne({ _id: this.#random.int(0, 23) }, set, { upsert: true, session });
        await this.#alone(session);
        await things.updateOne({ _id: this.#random.int(0, 23) }, set, { session });
      }),
    );
  }
}
