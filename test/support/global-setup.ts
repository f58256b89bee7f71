/** Before the suites that need them: some mongods for the whole run, and `dist/` as the sources are now. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import type { TestProject } from "vitest/node";
import { startEmbeddedMongod } from "../../src/source/embedded-mongod.ts";
import { buildIfStale } from "./build.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** One-node replica sets that the tests of the run share: see `sharedMongod`. */
    mongodbUris: readonly string[];
    /** Of these servers, such as `6.0.5`. */
    mongodbVersion: string;
  }
}

/**
 * Each change stream reads what is written to the whole server, so a server for all workers would spend more than a core on the
 * writes of other tests.
 */
const MONGODS = 3;

interface Shared {
  readonly uris: readonly string[];
  readonly version: string;
  users: number;
  stop(): Promise<void>;
}

/** Every project of a run comes here, each with modules of its own, so what they share hangs on the process. */
const SHARED = Symbol.for("tidewire.test.shared-mongod");
type Holder = { [SHARED]?: Promise<Shared> };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // The process object is the one place that is the same for all copies of this module.
  const holder = process as Holder;
  holder[SHARED] ??= start();
  const shared = await holder[SHARED];
  shared.users += 1;
  project.provide("mongodbUris", shared.uris);
  project.provide("mongodbVersion", shared.version);
  return async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    delete holder[SHARED];
    await shared.stop();
  };
}

async function start(): Promise<Shared> {
  await buildIfStale();
  const first = await startOne();
  // The first one has downloaded the program, if that was necessary.
  const mongods = [first, ...(await Promise.all(Array.from({ length: MONGODS - 1 }, startOne)))];
  return {
    uris: mongods.map(({ uri }) => uri),
    version: await versionOf(first.uri),
    users: 0,
    stop: async () => void (await Promise.all(mongods.map(({ stop }) => stop()))),
  };
}

async function startOne() {
  const dataDir = await mkdtemp(join(tmpdir(), `tidewire-test-${randomUUID().slice(0, 8)}-`));
  const mongod = await startEmbeddedMongod({
    dataDir,
    logger: pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "warn" }),
    // A write that waits for a majority waits for the next write of the journal. By default that is up to 100 ms later, in
    // each of thousands of tests.
    args: ["--setParameter=enableTestCommands=1", "--journalCommitInterval=5"],
  });
  return {
    uri: mongod.uri,
    async stop() {
      await mongod.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function versionOf(uri: string): Promise<string> {
  const client = new MongoClient(uri);
  const { version } = await client.db("admin").command({ buildInfo: 1 });
  await client.close();
  return String(version);
}
