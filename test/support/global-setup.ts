/** Before the suites that need them: one mongod for the whole run, and `dist/` as the sources are now. */
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
    /** A one-node replica set that all tests of the run share. Break another one: `startReplicaSet`. */
    mongodbUri: string;
    /** Of that server, such as `6.0.5`. */
    mongodbVersion: string;
  }
}

interface Shared {
  readonly uri: string;
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
  project.provide("mongodbUri", shared.uri);
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
  const dataDir = await mkdtemp(join(tmpdir(), `tidewire-test-${randomUUID().slice(0, 8)}-`));
  const mongod = await startEmbeddedMongod({
    dataDir,
    logger: pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "warn" }),
    args: ["--setParameter=enableTestCommands=1"],
  });
  return {
    uri: mongod.uri,
    version: await versionOf(mongod.uri),
    users: 0,
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
