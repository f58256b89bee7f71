/** Very many clients on few live queries, on real sockets, that are cut off and come back all at once. */
import { setTimeout as pause } from "node:timers/promises";
import type { Collection, Db, MongoClient } from "mongodb";
import { WebSocket } from "ws";
import { testDatabase, until } from "./mongod.ts";
import { signToken, testConfig } from "./service.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";

interface Thing {
  _id: string;
  room: number;
  n: number;
}

export interface HerdOptions {
  readonly clients: number;
  readonly liveQueries: number;
  /** The limits of the history, as in the configuration. */
  readonly historyBytes: string;
}

/** The cost and the outcome of the return. */
export interface Return {
  /** From the first connection attempt until the last client held everything, in milliseconds. */
  readonly ms: number;
  /** Subscriptions, by how they started. */
  readonly starts: Readonly<Record<string, number>>;
  /** Snapshots that were read from MongoDB, and those that were made of what another one read. */
  readonly snapshotsRead: number;
  readonly snapshotsShared: number;
  readonly catchUps: Readonly<Record<"history" | "oplog", number>>;
  /** Commands that mongod took from everyone meanwhile: snapshots are aggregates or finds, catch-ups change streams. */
  readonly commands: Readonly<Record<"find" | "aggregate" | "getMore", number>>;
  /** Messages to all clients. */
  readonly messages: number;
  /** Attempts to connect that failed: all clients are one process, which may be too late with the rest of it. */
  readonly retries: number;
  /** Clients whose documents were not those that `find` gives. */
  readonly different: number;
  readonly faults: readonly string[];
}

/** More than a history of 1 MiB holds. */
const PAD_BYTES = 400_000;
const PADS = 4;
const RETRIES_MAX = 10;
/** Within this time all of them come back. */
const RETURN_WITHIN_MS = 1_000;
/** A client that is not complete by then counts as failed. */
const RETURN_TIMEOUT_MS = 600_000;

export class Herd {
  readonly #service: SpawnedService;
  readonly #client: MongoClient;
  readonly #db: Db;
  readonly #options: HerdOptions;
  readonly #members: readonly Member[];
  #round = 0;

  private constructor(
    service: SpawnedService,
    { client, db }: { client: MongoClient; db: Db },
    options: HerdOptions,
    members: readonly Member[],
  ) {
    this.#service = service;
    this.#client = client;
    this.#db = db;
    this.#options = options;
    this.#members = members;
  }

  /** Ends with the test that started it. */
  static async start(options: HerdOptions): Promise<Herd> {
    const database = await testDatabase();
    const rules = [{ name: "by room", filter: { room: "%%user.room" } }];
    const config = testConfig(database.uri, database.name, {
      collections: { things: { rules } },
      history: { window: "5m", bytes: options.historyBytes },
      // All clients are one process, which is late with everything while thousands of its sockets open.
      auth: { helloTimeout: "60s" },
    });
    // Its log says where it listens.
    const service = await spawnService({
      config: { ...config, mongodb: mongodbOf(config), log: { level: "info" } },
    });
    await until("a ready node", async () => (await fetch(`${service.url}/readyz`)).ok || undefined);
    const members = await Promise.all(
      Array.from({ length: options.clients }, async (_, index) => {
        const room = index % options.liveQueries;
        return new Member(room, await signToken({ sub: `u${index}`, room }));
      }),
    );
    await database.db.collection("things").createIndex({ room: 1 });
    return new Herd(service, database, options, members);
  }

  get #things(): Collection<Thing> {
    return this.#db.collection<Thing>("things");
  }

  /** Everyone comes for the first time. */
  async join(): Promise<Return> {
    await this.#write(10);
    return this.#comeBack(false);
  }

  /**
   * Cuts everyone off, lets each miss so many changes, and has them come back within a second.
   * @param how With the place where they were, or as newcomers; and whether the history still reaches back there.
   */
  async dropAndReturn(missed: number, how: "history" | "oplog" | "newcomers"): Promise<Return> {
    for (const member of this.#members) member.drop();
    await this.#write(missed);
    if (how === "oplog") await this.#overrunHistory();
    return this.#comeBack(how !== "newcomers");
  }

  leave(): void {
    for (const member of this.#members) member.drop();
  }

  async #comeBack(withPlace: boolean): Promise<Return> {
    await this.#untilReadUp();
    const before = await this.#counts();
    const url = `${this.#service.url.replace("http", "ws")}/v1/ws`;
    const begin = performance.now();
    await Promise.all(
      this.#members.map(async (member) => {
        await pause(Math.random() * RETURN_WITHIN_MS);
        await member.follow(url, withPlace, this.#lastId(member.room));
      }),
    );
    const ms = Math.round(performance.now() - begin);
    const after = await this.#counts();
    const grown = (key: string) => (after.get(key) ?? 0) - (before.get(key) ?? 0);
    const starts: Record<string, number> = {};
    for (const { start } of this.#members) starts[start] = (starts[start] ?? 0) + 1;
    const snapshots = grown("tidewire_snapshots_total");
    const snapshotsRead = grown('tidewire_snapshots_total{served="read"}');
    return {
      ms,
      starts,
      snapshotsRead,
      snapshotsShared: snapshots - snapshotsRead,
      catchUps: {
        history: grown('tidewire_catch_ups_total{from="history"}'),
        oplog: grown('tidewire_catch_ups_total{from="oplog"}'),
      },
      commands: { find: grown("find"), aggregate: grown("aggregate"), getMore: grown("getMore") },
      messages: this.#members.reduce((sum, { messages }) => sum + messages, 0),
      retries: this.#members.reduce((sum, { retries }) => sum + retries, 0),
      different: await this.#different(),
      faults: this.#members.flatMap(({ faults }) => faults),
    };
  }

  /** Writes this number of changes to every live query. Of ten changes, six add, three change and one removes. The last one adds. */
  async #write(changes: number): Promise<void> {
    const round = this.#round++;
    const rooms = Array.from({ length: this.#options.liveQueries }, (_, room) => room);
    const [updates, deletes] = [Math.floor(changes * 0.3), Math.floor(changes * 0.1)];
    const inserts = changes - updates - deletes;
    const id = (room: number, n: number) => `${room}/${round}/${n}`;
    const each = <T>(from: number, to: number, make: (room: number, n: number) => T): T[] =>
      Array.from({ length: to - from }, (_, n) => rooms.map((room) => make(room, from + n))).flat();
    const insert = (room: number, n: number) => ({ insertOne: { document: { _id: id(room, n), room, n } } });
    const update = (room: number, n: number) => ({
      updateOne: { filter: { _id: id(room, n) }, update: { $set: { n: n + 1_000 } } },
    });
    const remove = (room: number, n: number) => ({ deleteOne: { filter: { _id: id(room, n) } } });
    const [things, last] = [this.#things, inserts - 1];
    await things.bulkWrite(each(0, last, insert), { ordered: false });
    if (updates > 0) await things.bulkWrite(each(0, updates, update), { ordered: false });
    if (deletes > 0) await things.bulkWrite(each(0, deletes, remove), { ordered: false });
    await things.bulkWrite(each(last, inserts, insert), { ordered: false });
    this.#lastId = (room) => id(room, last);
  }

  /** The document that everyone of a room has to have in the end. */
  #lastId: (room: number) => string = () => "";

  async #overrunHistory(): Promise<void> {
    const pad = "x".repeat(PAD_BYTES);
    for (let n = 0; n < PADS; n++) {
      await this.#db.collection<{ room: number; pad: string }>("things").insertOne({ room: -1, pad });
    }
  }

  /** Waits until the node itself is not behind, before the clients come back. */
  async #untilReadUp(): Promise<void> {
    const member = new Member(-1, await signToken({ sub: "watch", room: -1 }));
    const { operationTime } = await this.#client.db("admin").command({ ping: 1 });
    await member.fence(`${this.#service.url.replace("http", "ws")}/v1/ws`, operationTime);
  }

  /** The service's own counters, by sample and in sum, and the server's of commands. */
  async #counts(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    const text = await (await fetch(`${this.#service.adminUrl}/metrics`)).text();
    for (const [, name = "", labels = "", value] of text.matchAll(/^(\w+)(\{[^}]*\})? (\S+)$/gm)) {
      const add = (key: string) => counts.set(key, (counts.get(key) ?? 0) + Number(value));
      add(name);
      for (const [label] of labels.matchAll(/\w+="[^"]*"/g)) add(`${name}{${label}}`);
    }
    const { metrics } = await this.#client.db("admin").command({ serverStatus: 1 });
    for (const name of ["find", "aggregate", "getMore"]) {
      counts.set(name, Number(metrics.commands[name].total));
    }
    return counts;
  }

  async #different(): Promise<number> {
    const expected = new Map<number, Map<string, string>>();
    for (let room = 0; room < this.#options.liveQueries; room++) {
      const found = await this.#things.find({ room }).toArray();
      expected.set(room, new Map(found.map((thing) => [thing._id, JSON.stringify(thing)])));
    }
    return this.#members.filter(({ room, documents }) => {
      const found = expected.get(room);
      if (found === undefined || found.size !== documents.size) return true;
      return [...found].some(([id, text]) => documents.get(id) !== text);
    }).length;
  }
}

const mongodbOf = (config: Record<string, unknown>) => config["mongodb"] as Record<string, unknown>; // as testConfig makes it

type Received = Record<string, unknown> & { type: string };

/** One client with one subscription: light, as there are thousands in one process, but it takes nothing on trust. */
class Member {
  readonly room: number;
  readonly documents = new Map<string, string>();
  readonly faults: string[] = [];
  /** How the subscription started the last time. */
  start = "";
  messages = 0;
  /** Connections that did not come about, or ended too early. */
  retries = 0;
  readonly #token: string;
  #socket: WebSocket | undefined;
  #place: { cursor: string; ticket: string } | undefined;

  constructor(room: number, token: string) {
    this.room = room;
    this.#token = token;
  }

  drop(): void {
    this.#socket?.removeAllListeners("message");
    this.#socket?.terminate();
    this.#socket = undefined;
  }

  /** Connects, subscribes, and settles when the document `lastId` is there. */
  async follow(url: string, withPlace: boolean, lastId: string): Promise<void> {
    if (!withPlace) this.#place = undefined;
    this.messages = 0;
    this.retries = 0;
    const isDone = () => this.documents.has(lastId);
    for (;;) {
      const message = { type: "subscribe", id: "t", collection: "things", ...this.#place };
      const failure = await this.#connect(url, isDone, message).catch((error: unknown) => error);
      if (failure === undefined) return;
      // As any client does: it waits a moment, and tries again.
      if (++this.retries > RETRIES_MAX) throw failure;
      await pause(Math.random() * RETURN_WITHIN_MS);
    }
  }

  /** Connects, and settles when everything up to an operation time has been read by the node. */
  async fence(url: string, { t, i }: { t: number; i: number }): Promise<void> {
    const message = { type: "fence", id: "f", operationTime: { $timestamp: { t, i } } };
    await this.#connect(url, ({ type }) => type === "fenced", message);
    this.drop();
  }

  /** Opens a socket, says hello and then `message`; settles when an answer has made `isDone` true. */
  #connect(url: string, isDone: (received: Received) => boolean, message: object): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, ["tidewire.v1"], { perMessageDeflate: false });
      const send = (next: object) => socket.send(JSON.stringify(next));
      this.#socket = socket;
      socket.on("open", () => send({ type: "hello", token: this.#token }));
      socket.on("error", reject);
      const fail = (what: string) =>
        reject(
          new Error(`${what}: ${this.start}, ${this.messages} messages, ${this.documents.size} documents`),
        );
      const timer = setTimeout(fail, RETURN_TIMEOUT_MS, "not complete in time");
      socket.on("close", (code) => fail(`closed with ${code}`));
      socket.on("message", (data) => {
        const received: Received = JSON.parse(String(data));
        if (received.type === "welcome") {
          send(message);
          return;
        }
        this.messages++;
        this.#take(received);
        if (received.type === "error") reject(new Error(JSON.stringify(received)));
        if (!isDone(received)) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #take(message: Received): void {
    const { type, cursor } = message;
    if (type === "subscribed") {
      this.start = String(message["start"]);
      this.#place = { cursor: String(cursor), ticket: String(message["ticket"]) };
      if (this.start !== "resumed") this.documents.clear();
      return;
    }
    if (type === "reset") {
      this.#fault("reset", message);
      this.documents.clear();
    }
    for (const doc of (message["docs"] as Thing[] | undefined) ?? []) this.#put(doc, false, message);
    if (type === "added" || type === "changed")
      this.#put(message["doc"] as Thing, type === "changed", message);
    if (type === "removed" && !this.documents.delete(String(message["_id"]))) this.#fault("unknown", message);
    if (typeof cursor === "string" && this.#place !== undefined) this.#place.cursor = cursor;
  }

  #put(doc: Thing, isKnown: boolean, message: Received): void {
    if (this.documents.has(doc._id) !== isKnown) this.#fault(isKnown ? "unknown" : "twice", message);
    this.documents.set(doc._id, JSON.stringify(doc));
  }

  #fault(what: string, message: Received): void {
    this.faults.push(`${what}: ${JSON.stringify(message).slice(0, 200)}`);
  }
}
