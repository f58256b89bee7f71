/** Clients and writers around a service that is about to suffer, and the count of what went wrong with them. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished } from "vitest";
import type { ModelRequest } from "../support/model-client.ts";
import { until } from "../support/mongod.ts";
import { differencesOf, Oracle, type OracleQuery } from "../support/oracle.ts";
import type { Random } from "../support/random.ts";
import { ResumingClient } from "../support/resuming-client.ts";
import { signToken } from "../support/service.ts";
import { Silence } from "../support/silence.ts";
import { VersionLedger } from "../support/version-ledger.ts";
import { VersionedWriter } from "../support/versioned-writer.ts";

const COLLECTION = "items";
export const COLLECTIONS = {
  [COLLECTION]: {
    rules: [
      { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } },
      { name: "customer", filter: { owner: "%%user.sub" }, fields: { exclude: ["note"] } },
    ],
  },
};

const WRITERS = 4;
const SETTLE_MS = 60_000;

interface Member {
  readonly client: ResumingClient;
  /** For the queries that have every document: they must see every version. Of others, documents come and go. */
  readonly ledgers: ReadonlyMap<string, VersionLedger>;
  readonly queries: ReadonlyMap<string, OracleQuery>;
}

export interface FleetOptions {
  readonly uri: string;
  readonly database: string;
  /** Where the next client shall connect. */
  readonly url: () => string;
  readonly random: Random;
}

/** Nothing lost, nothing twice, nothing in the wrong order, and nothing that the protocol does not allow. */
export const FLAWLESS = { lost: 0, duplicated: 0, outOfOrder: 0, examples: [], faults: [] };

/** Writers and clients, all at work; they end with the test. */
export class Fleet {
  readonly members: Member[] = [];
  readonly #options: FleetOptions;
  readonly #mongo: MongoClient;
  readonly #oracle: Oracle;
  readonly #writers: readonly VersionedWriter[];
  /** One for each query that has every document. */
  readonly #silences: Silence[] = [];
  readonly #startedAtMs = Date.now();

  private constructor(options: FleetOptions, mongo: MongoClient) {
    const { database, random } = options;
    this.#options = options;
    this.#mongo = mongo;
    this.#oracle = new Oracle(mongo, `${database}-state`);
    this.#writers = Array.from(
      { length: WRITERS },
      (_, i) => new VersionedWriter(mongo, mongo.db(database), COLLECTION, `w${i}`, random.fork()),
    );
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const mongo = await MongoClient.connect(options.uri, { serverSelectionTimeoutMS: SETTLE_MS });
    onTestFinished(() => mongo.close());
    const fleet = new Fleet(options, mongo);
    await until("the first epoch", () => fleet.#oracle.learnEpoch().catch(() => undefined));
    const all = { collection: COLLECTION };
    await fleet.#join("admin", { all }, "json");
    await fleet.#join("admin", { all, shown: { ...all, filter: { shown: true } } }, "ejson");
    await fleet.#join("admin", { versions: { ...all, fields: ["v"] } }, "json");
    await fleet.#join("u0", { mine: all, few: { ...all, filter: { shown: true }, fields: ["v"] } }, "json");
    await fleet.#join("u1", { mine: all }, "ejson");
    await fleet.#join("u1", { odd: { ...all, filter: { v: { $mod: [2, 1] } } } }, "json");
    for (const writer of fleet.#writers) {
      writer.onWritten = () => {
        for (const silence of fleet.#silences) silence.written();
      };
      writer.start();
    }
    onTestFinished(() => fleet.#stopWriters());
    return fleet;
  }

  get clients(): readonly ResumingClient[] {
    return this.members.map(({ client }) => client);
  }

  /** Subscriptions of all clients. */
  get subscriptions(): number {
    return this.clients.reduce((total, { subscriptions }) => total + subscriptions.length, 0);
  }

  /** Changes that the counting clients have had. */
  get changes(): number {
    return ledgersOf(this.members).reduce((total, { changes }) => total + changes, 0);
  }

  /** Writes of all writers. */
  get writes(): number {
    return this.#writers.reduce((total, { writes }) => total + writes, 0);
  }

  /** The longest time since this was asked last for which a client received nothing while writes went on, in milliseconds. */
  takeSilenceMs(): number {
    return Math.max(...this.#silences.map((silence) => silence.take()));
  }

  /** Ends the writes, waits until everybody has everything, compares with `find`, and gives the counts. */
  async settle(): Promise<Record<string, unknown>> {
    const seconds = (Date.now() - this.#startedAtMs) / 1_000;
    await this.#stopWriters();
    const { operationTime } = await this.#mongo.db("admin").command({ ping: 1 });
    const end: bigint = operationTime.toBigInt();
    const late = () => this.members.flatMap((member) => this.#lateOf(member, end));
    await expect.poll(late, { timeout: SETTLE_MS, interval: 50 }).toEqual([]);
    for (const member of this.members) await this.#compare(member);
    await Promise.all(this.clients.map((client) => client.stop()));
    return { ...countsOf(this.members), ...this.#writesIn(seconds) };
  }

  async #join(user: string, requests: Record<string, ModelRequest>, values: "json" | "ejson"): Promise<void> {
    const isStaff = user === "admin";
    const counted = Object.keys(requests).filter((id) => isStaff && requests[id]?.filter === undefined);
    const ledgers = new Map(counted.map((id) => [id, this.#newLedger()]));
    const client = new ResumingClient({
      url: this.#options.url,
      requests,
      random: this.#options.random.fork(),
      values,
      token: await signToken({ sub: user, ...(isStaff ? { roles: ["admin"] } : {}) }),
      decode: (cursor) => this.#oracle.decode(cursor),
      onHeld: (held, id) => ledgers.get(id)?.follow(held),
      onPoint: (held, id, by) => {
        if (by === "snapshot") ledgers.get(id)?.snapshot(held);
      },
    });
    const queries = new Map(
      Object.entries(requests).map(([id, request]) => [id, this.#queryOf(user, request)]),
    );
    this.members.push({ client, ledgers, queries });
    client.start();
    onTestFinished(() => client.stop());
  }

  #newLedger(): VersionLedger {
    const silence = new Silence();
    this.#silences.push(silence);
    return new VersionLedger(() => silence.received());
  }

  #queryOf(user: string, { filter = {}, fields }: ModelRequest): OracleQuery {
    const isStaff = user === "admin";
    return {
      database: this.#options.database,
      collection: COLLECTION,
      filter: { $and: [isStaff ? {} : { owner: user }, filter] },
      projections: [
        ...(isStaff ? [] : [{ note: 0 }]),
        ...(fields === undefined ? [] : [Object.fromEntries(fields.map((path) => [path, 1]))]),
      ],
    };
  }

  async #stopWriters(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()));
  }

  /** The clients that have not reached `end` yet. */
  #lateOf({ client }: Member, end: bigint): string[] {
    return client.subscriptions.flatMap(({ id }) => {
      const held = client.heldOf(id);
      if (held?.phase !== "following") return [`${id} ${held?.phase}`];
      return this.#oracle.decode(held.cursor).clusterTime < end ? [`${id} behind`] : [];
    });
  }

  async #compare({ client, queries }: Member): Promise<void> {
    for (const [id, query] of queries) {
      const held = client.heldOf(id);
      if (held === undefined) throw new Error(`${id} is gone again, with nothing to blame`);
      const found = await this.#oracle.find(query, held.cursor, held.mode);
      if (found === null) throw new Error("the server can no longer tell what it was");
      expect(differencesOf(held.documents, found), `what ${id} holds`).toEqual([]);
    }
  }

  #writesIn(seconds: number): Record<string, number> {
    const total = (key: "writes" | "transactions" | "failed") =>
      this.#writers.reduce((all, writer) => all + writer[key], 0);
    return {
      writes: total("writes"),
      transactions: total("transactions"),
      failed: total("failed"),
      perSecond: Math.round(total("writes") / seconds),
      seconds: Math.round(seconds),
    };
  }
}

const ledgersOf = (members: readonly Member[]) => members.flatMap(({ ledgers }) => [...ledgers.values()]);

/** Everything that went wrong, and how clients started. */
function countsOf(members: readonly Member[]): Record<string, unknown> {
  const ledgers = ledgersOf(members);
  const sum = (key: "lost" | "duplicated" | "outOfOrder" | "changes") =>
    ledgers.reduce((total, ledger) => total + ledger[key], 0);
  const merged = (key: "starts" | "closes") => {
    const counts: Record<string, number> = {};
    for (const { client } of members) {
      for (const [name, count] of Object.entries(client[key])) counts[name] = (counts[name] ?? 0) + count;
    }
    return counts;
  };
  return {
    lost: sum("lost"),
    duplicated: sum("duplicated"),
    outOfOrder: sum("outOfOrder"),
    examples: ledgers.flatMap(({ examples }) => examples),
    faults: members.flatMap(({ client }) => client.faults),
    versions: sum("changes"),
    connections: members.reduce((total, { client }) => total + client.connections, 0),
    starts: merged("starts"),
    closes: merged("closes"),
  };
}

/** For the log: one line. */
export const describeCounts = (counts: Record<string, unknown>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${typeof count === "object" ? JSON.stringify(count) : String(count)}`)
    .join(", ");
