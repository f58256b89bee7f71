/** Real mongod processes: the one that all tests of a run share, and sets of their own for those that break it. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Db, type Document, MongoClient, type MongoClientOptions } from "mongodb";
import { pino } from "pino";
import { inject, onTestFinished } from "vitest";
import { findMongod } from "../../src/source/mongod-binary.ts";
import { endWithUs, exited } from "./guard.ts";

const HOST = "127.0.0.1";
/** For what takes well under a second, except where the machine is busy with something else. */
const PATIENCE_MS = 120_000;
const POLL_MS = 25;

export interface TestDatabase {
  readonly client: MongoClient;
  readonly db: Db;
  readonly name: string;
  readonly uri: string;
}

/** The URI of the server that this worker shares with few others. Break another one: `startReplicaSet`. */
export function sharedMongod(): string {
  const uris = inject("mongodbUris");
  const uri = uris[Number(process.env["VITEST_POOL_ID"] ?? 1) % uris.length];
  assert(uri !== undefined, "the global setup has started a mongod");
  return uri;
}

/** A client and a database of a fresh name on the shared replica set; dropped when the test has finished. */
export async function testDatabase(options: MongoClientOptions = {}): Promise<TestDatabase> {
  const uri = sharedMongod();
  const name = `test-${randomBytes(6).toString("hex")}`;
  const client = await new MongoClient(uri, options).connect();
  onTestFinished(async () => {
    await client.db(name).dropDatabase();
    await client.close();
  });
  return { client, db: client.db(name), name, uri };
}

/** One mongod process that can be ended and started again on the same port and data. */
export class Mongod {
  readonly port: number;
  readonly host: string;
  readonly #binary: string;
  readonly #args: readonly string[];
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(binary: string, port: number, directory: string, args: readonly string[]) {
    this.#binary = binary;
    this.port = port;
    this.host = `${HOST}:${port}`;
    this.#directory = directory;
    this.#args = args;
  }

  /**
   * Starts a mongod that has `args` and nothing of a replica set unless they say so.
   * @param binary Default: the one that all tests use.
   */
  static async start(args: readonly string[] = [], binary?: string): Promise<Mongod> {
    const path = binary ?? (await findMongod({ logger: pino({ level: "silent" }) })).path;
    const directory = await mkdtemp(join(tmpdir(), "tidewire-mongod-"));
    const mongod = new Mongod(path, await freePort(), directory, [
      ...(binary === undefined ? [QUICK_END] : []),
      ...args,
    ]);
    await mongod.start();
    return mongod;
  }

  get uri(): string {
    return `mongodb://${this.host}/?directConnection=true`;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Answers once it accepts connections. `alone`: outside its replica set, as for maintenance. */
  async start({ alone = false } = {}): Promise<void> {
    assert(this.#process === undefined, "already running");
    const dbPath = join(this.#directory, "db");
    await mkdir(dbPath, { recursive: true });
    const args = alone ? this.#args.filter((arg) => arg !== "--replSet" && arg !== SET) : this.#args;
    const child = spawn(
      this.#binary,
      ["--port", String(this.port), "--dbpath", dbPath, "--bind_ip", HOST, ...QUICK, ...args],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    this.#process = child;
    child.once("exit", () => {
      if (this.#process === child) this.#process = undefined;
    });
    endWithUs(child, this.#directory);
    await listening(child);
  }

  /** Sends a signal and, but for SIGSTOP and SIGCONT, waits until the process has ended. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    assert(child !== undefined, "not running");
    child.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await exited(child);
  }

  /** Ends it, if it runs, and removes its data. */
  async dispose(): Promise<void> {
    if (this.#process !== undefined) await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Servers before 5.0 do not know it. */
const QUICK_END = "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100";

/** Small and quick to start and to end; a deployment without writes still moves its clock every second. */
const QUICK = [
  "--wiredTigerCacheSizeGB=0.25",
  "--setParameter=diagnosticDataCollectionEnabled=false",
  "--setParameter=enableTestCommands=1",
  "--setParameter=periodicNoopIntervalSecs=1",
];

export interface ReplicaSetOptions {
  /** Further arguments for mongod: `["--oplogSize", "2"]`, `["--setParameter", "…"]`. */
  readonly args?: readonly string[];
  /** Default 3. */
  readonly members?: number;
  /** Path of another mongod than the one that all tests use. */
  readonly binary?: string;
  /** Users must log in; `rootUri` is the one who may do everything. */
  readonly auth?: boolean;
  /** How soon a dead primary is replaced, at the latest. Default 1,000. */
  readonly electionTimeoutMillis?: number;
  /** Where everybody else reaches a member, `127.0.0.1:27017`: a proxy before it, say. Default: the member itself. */
  readonly addressOf?: (member: Mongod) => Promise<string>;
}

const SET = "test";
const ROOT = { user: "root", password: "root" };

/** Starts a replica set; it ends with the test that started it, or else with `stop`. */
export async function startReplicaSet(options: ReplicaSetOptions = {}): Promise<ReplicaSet> {
  const keyFile = options.auth === true ? await writeKeyFile() : undefined;
  const args = ["--replSet", SET, ...(keyFile === undefined ? [] : ["--auth", "--keyFile", keyFile])];
  const members = await Promise.all(
    Array.from({ length: options.members ?? 3 }, () =>
      Mongod.start([...args, ...(options.args ?? [])], options.binary),
    ),
  );
  const { addressOf = async ({ host }: Mongod) => host } = options;
  const set = new ReplicaSet(members, await Promise.all(members.map(addressOf)), keyFile);
  try {
    await set.initiate(options.electionTimeoutMillis ?? 1_000);
    return set;
  } catch (error) {
    await set.stop();
    throw error;
  }
}

export class ReplicaSet {
  readonly members: readonly Mongod[];
  readonly #addresses: readonly string[];
  readonly #keyFile: string | undefined;

  constructor(members: readonly Mongod[], addresses: readonly string[], keyFile: string | undefined) {
    this.members = members;
    this.#addresses = addresses;
    this.#keyFile = keyFile;
  }

  /** For the user who may do everything. */
  get uri(): string {
    return this.uriFor(this.#keyFile === undefined ? undefined : ROOT);
  }

  uriFor(login?: { readonly user: string; readonly password: string }): string {
    const who = login === undefined ? "" : `${login.user}:${login.password}@`;
    return `mongodb://${who}${this.#addresses.join(",")}/?replicaSet=${SET}`;
  }

  async initiate(electionTimeoutMillis: number): Promise<void> {
    const [first] = this.members;
    assert(first !== undefined);
    const config = {
      _id: SET,
      members: this.#addresses.map((host, _id) => ({ _id, host })),
      settings: { electionTimeoutMillis, heartbeatIntervalMillis: 200, catchUpTimeoutMillis: 1_000 },
    };
    await asOne(first, (admin) => admin.command({ replSetInitiate: config }));
    const primary = await this.primary();
    if (this.#keyFile !== undefined) {
      // The exception for a server without users lets exactly this be done without a login.
      await asOne(primary, (admin) =>
        admin.command({ createUser: ROOT.user, pwd: ROOT.password, roles: ["root"] }),
      );
    }
    await until(`${this.members.length} members in step`, async () => {
      const status = await asOne(primary, (admin) => admin.command({ replSetGetStatus: 1 }), this.#login());
      return status["members"].every((member: Document) => member["state"] === 1 || member["state"] === 2);
    });
  }

  /** The member that takes writes; waits while there is none. */
  async primary(): Promise<Mongod> {
    return until("a primary", async () => {
      for (const member of this.members) {
        if (member.running && (await isPrimary(member))) return member;
      }
      return undefined;
    });
  }

  async secondaries(): Promise<Mongod[]> {
    const primary = await this.primary();
    return this.members.filter((member) => member !== primary && member.running);
  }

  /** The primary gives way to another one and stays up; answers its successor. */
  async stepDown(): Promise<Mongod> {
    const old = await this.primary();
    await asOne(
      old,
      (admin) => admin.command({ replSetStepDown: 60, secondaryCatchUpPeriodSecs: 10 }),
      this.#login(),
    );
    const successor = await until("another primary", async () => {
      const primary = await this.primary();
      return primary === old ? undefined : primary;
    });
    // It may be elected again from now on, or a set would run out of candidates.
    await asOne(old, (admin) => admin.command({ replSetFreeze: 0 }), this.#login());
    return successor;
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.dispose()));
    if (this.#keyFile !== undefined) await rm(dirname(this.#keyFile), { recursive: true, force: true });
  }

  #login(): MongoClientOptions {
    if (this.#keyFile === undefined) return {};
    return { auth: { username: ROOT.user, password: ROOT.password } };
  }
}

async function isPrimary(member: Mongod): Promise<boolean> {
  try {
    const hello = await asOne(member, (admin) => admin.command({ hello: 1 }), {
      serverSelectionTimeoutMS: 1_000,
      socketTimeoutMS: 1_000,
    });
    return hello["isWritablePrimary"] === true;
  } catch {
    // Frozen, or ending just now.
    return false;
  }
}

async function asOne<T>(
  member: Mongod,
  ask: (admin: Db) => Promise<T>,
  options: MongoClientOptions = {},
): Promise<T> {
  const client = new MongoClient(member.uri, { serverSelectionTimeoutMS: PATIENCE_MS, ...options });
  try {
    return await ask(client.db("admin"));
  } finally {
    await client.close();
  }
}

/** Asks until the answer is neither undefined nor false. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const giveUpAtMs = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    assert(Date.now() < giveUpAtMs, `waited ${PATIENCE_MS} ms for ${what}`);
    await delay(POLL_MS);
  }
}

async function listening(child: ChildProcess): Promise<void> {
  const { stdout } = child;
  assert(stdout !== null);
  stdout.setEncoding("utf8");
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const onExit = () => reject(new Error(`mongod did not start: ${said.slice(-2_000)}`));
    child.once("error", reject);
    child.once("exit", onExit);
    stdout.on("data", function read(text: string) {
      said += text;
      if (!said.includes("Waiting for connections")) return;
      child.off("exit", onExit);
      stdout.off("data", read);
      // A pipe that nobody reads fills up and then stops the process that writes to it.
      stdout.resume();
      resolve();
    });
  });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

async function writeKeyFile(): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "tidewire-key-")), "key");
  await writeFile(file, randomBytes(96).toString("base64"), { mode: 0o600 });
  return file;
}
