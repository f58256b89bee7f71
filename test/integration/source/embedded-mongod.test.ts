import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { type EmbeddedMongod, startEmbeddedMongod } from "../../../src/source/embedded-mongod.ts";
import { StartupError } from "../../../src/source/startup-error.ts";
import { until } from "../../support/mongod.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";

const logger = pino({ level: "silent" });

async function dataDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-embedded-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function start(dataDir: string): Promise<EmbeddedMongod> {
  const mongod = await startEmbeddedMongod({ dataDir, logger });
  onTestFinished(() => mongod.stop());
  return mongod;
}

async function withClient<T>({ uri }: EmbeddedMongod, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(uri);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

const notes = (client: MongoClient) => client.db("shop").collection("notes");
const replicaSetId = async (client: MongoClient) => {
  const { config } = await client.db("admin").command({ replSetGetConfig: 1 });
  return String(config.settings.replicaSetId);
};
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test("keeps documents and the identity of its replica set over a stop and a start on another port", async () => {
  const dataDir = await dataDirectory();
  const first = await start(dataDir);
  const id = await withClient(first, async (client) => {
    await notes(client).insertOne({ text: "kept" }, { writeConcern: { w: "majority" } });
    return replicaSetId(client);
  });
  await first.stop();
  expect(isAlive(first.pid)).toBe(false);

  const second = await start(dataDir);
  expect(second.port).not.toBe(first.port);
  await withClient(second, async (client) => {
    expect(await notes(client).findOne({}, { projection: { _id: 0 } })).toEqual({ text: "kept" });
    expect(await replicaSetId(client)).toBe(id);
  });
});

test("offers change streams with images and transactions", async ({ skip }) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const mongod = await start(await dataDirectory());
  await withClient(mongod, async (client) => {
    await client.db("shop").createCollection("notes", { changeStreamPreAndPostImages: { enabled: true } });
    const stream = notes(client).watch([], { fullDocumentBeforeChange: "required" });
    const changes = stream[Symbol.asyncIterator]();
    const next = changes.next();
    await client.withSession((session) =>
      session.withTransaction(async () => void (await notes(client).insertOne({ n: 1 }, { session }))),
    );
    expect((await next).value).toMatchObject({ operationType: "insert", fullDocument: { n: 1 } });
    await stream.close();
  });
});

test("comes back after its mongod was killed in the middle of writing, with all that was acknowledged", async () => {
  const dataDir = await dataDirectory();
  const first = await start(dataDir);
  await withClient(first, async (client) => {
    for (let n = 0; n < 50; n += 1) await notes(client).insertOne({ n }, { writeConcern: { w: "majority" } });
  });
  process.kill(first.pid, "SIGKILL");
  await until("the killed mongod to be gone", async () => !isAlive(first.pid));

  const second = await start(dataDir);
  expect(await withClient(second, (client) => notes(client).countDocuments())).toBe(50);
});

test("refuses a directory that another mongod uses, and names that one", async () => {
  const dataDir = await dataDirectory();
  const first = await start(dataDir);
  const second = startEmbeddedMongod({ dataDir, logger });
  await expect(second).rejects.toThrow(StartupError);
  await expect(second).rejects.toThrow(new RegExp(`in use by another mongod \\(process ${first.pid}\\)`));
  expect(isAlive(first.pid)).toBe(true);
});

test("a mongod that refuses to start is reported with its own error text", async () => {
  const dataDir = await dataDirectory();
  const start = startEmbeddedMongod({ dataDir, logger, args: ["--setParameter=noSuchParameter=1"] });
  await expect(start).rejects.toThrow(/did not start on .*noSuchParameter/s);
});

test("ends with the process that started it, even when that is killed; the next start waits for it", async () => {
  const dataDir = await dataDirectory();
  const module = new URL("../../../dist/source/embedded-mongod.js", import.meta.url).href;
  const script = `
    import { startEmbeddedMongod } from ${JSON.stringify(module)};
    const quiet = { debug() {}, info() {}, warn() {}, error() {} };
    const { pid } = await startEmbeddedMongod({ dataDir: ${JSON.stringify(dataDir)}, logger: quiet });
    process.stdout.write(pid + "\\n");
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = await new Promise<number>((resolve) =>
    child.stdout.once("data", (text) => resolve(Number(text))),
  );
  child.kill("SIGKILL");

  // That it starts at all is the proof: two mongods cannot hold one directory.
  const second = await start(dataDir);
  expect(second.pid).not.toBe(pid);
});
