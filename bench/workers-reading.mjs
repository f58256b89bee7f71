// The cost of reading for several workers: a change stream for each, against one process that reads and hands the bytes on.
// npm run bench:workers-reading [-- ROUNDS [CHANGES]]. Nothing is matched or sent: it ends where the feed would begin.
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const ROUNDS = Number(process.argv[2] ?? 5);
const CHANGES = Number(process.argv[3] ?? 2_000);
const DOCUMENTS = 1_000;
const TICK_MS = 10;
const READER = fileURLToPath(new URL("workers-reader.mjs", import.meta.url));

const directory = mkdtempSync(join(tmpdir(), "tidewire-bench-"));
const log = { info() {}, warn: console.error, error: console.error };
const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger: log });
const mongo = await new MongoClient(mongod.uri).connect();
const db = mongo.db("shop");
const items = await db.createCollection("items", { changeStreamPreAndPostImages: { enabled: true } });
const pad = "x".repeat(240);
await items.insertMany(Array.from({ length: DOCUMENTS }, (_, i) => ({ _id: i, n: 0, pad })));

const LOADS = {
  /** One after another: each change is a batch of the stream. */
  "one by one": async (count) => {
    for (let i = 0; i < count; i++) await items.updateOne({ _id: i % DOCUMENTS }, { $inc: { n: 1 } });
  },
  "bursts of 1000": async (count) => {
    const burst = Array.from({ length: DOCUMENTS }, (_, i) => ({
      updateOne: { filter: { _id: i }, update: { $inc: { n: 1 } } },
    }));
    for (let done = 0; done < count; done += DOCUMENTS) await items.bulkWrite(burst, { ordered: false });
  },
};

const said = (child, what) =>
  new Promise((resolve, reject) => {
    child.on("message", (message) => message === what && resolve());
    child.once("exit", (code) => reject(new Error(`a reader ended with ${code}`)));
  });

/** The CPU time and bytes that a process has used and read so far. */
function ask(child) {
  child.send("now");
  return new Promise((resolve) => child.once("message", resolve));
}

function mongodMs() {
  const fields = readFileSync(`/proc/${mongod.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

let sockets = 0;
async function start(how, workers) {
  const path = join(directory, `${++sockets}.sock`);
  const children = [];
  const add = (part) => {
    const child = fork(READER, [part, mongod.uri, "shop", path, String(workers)]);
    children.push(child);
    return child;
  };
  if (how === "own") {
    for (let i = 0; i < workers; i++) await said(add("own"), "ready");
    return children;
  }
  const reader = add("reader");
  const ready = said(reader, "ready");
  await said(reader, "listening");
  for (let i = 0; i < workers; i++) await said(add("handed"), "ready");
  await ready;
  return children;
}

async function run(load, how, workers) {
  const children = await start(how, workers);
  await load(CHANGES);
  await sleep(1_500);
  const before = await Promise.all(children.map(ask));
  const mongodBefore = mongodMs();
  await load(CHANGES);
  let after = before;
  while (!after.every(({ changes }, i) => changes - before[i].changes >= CHANGES)) {
    await sleep(100);
    after = await Promise.all(children.map(ask));
  }
  const mongodMicros = (1_000 * (mongodMs() - mongodBefore)) / CHANGES;
  for (const child of children) child.removeAllListeners("exit").kill("SIGKILL");
  const micros = after.map(
    ({ cpu }, i) => (cpu.user + cpu.system - before[i].cpu.user - before[i].cpu.system) / CHANGES,
  );
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const [reader, ofWorkers] = how === "own" ? [0, micros] : [micros[0], micros.slice(1)];
  return {
    reader,
    worker: workers === 0 ? 0 : sum(ofWorkers) / workers,
    all: sum(micros),
    mongod: mongodMicros,
  };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const CASES = [0, 1, 2, 4].flatMap((workers) =>
  workers === 0
    ? [["own", 0]]
    : [
        ["own", workers],
        ["handed", workers],
      ],
);
const results = {};
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, load] of Object.entries(LOADS)) {
    for (const [how, workers] of CASES) {
      const key = `${name}, ${workers} workers, ${how === "own" ? "a stream each" : "one reader"}`;
      results[key] ??= [];
      results[key].push(await run(load, how, workers));
    }
  }
}
await mongo.close();
await mongod.stop();
rmSync(directory, { recursive: true });

const medians = Object.fromEntries(
  Object.entries(results).map(([key, rounds]) => [
    key,
    Object.fromEntries(
      Object.keys(rounds[0]).map((name) => [
        name,
        Math.round(median(rounds.map((figures) => figures[name]))),
      ]),
    ),
  ]),
);
console.log("microseconds of processor time per change; all: reader and workers together");
console.table(medians);
const machine = { cpu: cpus()[0]?.model, cores: availableParallelism(), node: process.version };
console.log(JSON.stringify({ machine, rounds: ROUNDS, changes: CHANGES, medians }));
