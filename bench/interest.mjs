// Measures the cost of collections that nobody follows, read and left out, and the wait of their first follower.
// npm run bench:interest [-- NODES [WRITES]]. Needs /proc.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { WebSocket } from "ws";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const NODES = Number(process.argv[2] ?? 3);
const WRITES = Number(process.argv[3] ?? 20_000);
const FIRST_FOLLOWERS = 20;
const TICK_MS = 10;
const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

const directory = mkdtempSync(join(tmpdir(), "tidewire-bench-"));
const log = { info() {}, warn: console.error, error: console.error };
const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger: log });
const mongo = await new MongoClient(mongod.uri).connect();
const db = mongo.db("shop");
const pad = "x".repeat(1_000);
for (const name of ["busy", "idle"]) {
  const collection = await db.createCollection(name, { changeStreamPreAndPostImages: { enabled: true } });
  await collection.insertMany(Array.from({ length: 1_000 }, (_, _id) => ({ _id, n: 0, pad })));
}

const until = async (is) => {
  while (!(await is())) await sleep(50);
};

async function startNode(number, unfollowedAfter) {
  const file = join(directory, `node-${number}.json`);
  const rules = { rules: [{ name: "all", anonymous: true }] };
  const config = {
    mongodb: { uri: mongod.uri, database: "shop", stream: { unfollowedAfter } },
    server: { port: 0, admin: { port: 0 } },
    auth: { anonymous: true },
    collections: { busy: rules, idle: rules },
    history: { window: "0s" },
    limits: { linger: "0s" },
    log: { level: "info" },
  };
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [MAIN, "start", "--config", file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ports = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`a node ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { msg, port, adminPort } = JSON.parse(line);
      if (msg === "listening") resolve({ port, adminPort });
    });
  });
  child.removeAllListeners("exit");
  // A node listens before its change stream has begun, and refuses subscriptions until then.
  const isReady = async () => (await fetch(`http://127.0.0.1:${ports.adminPort}/readyz`)).ok;
  await until(isReady);
  const metric = async (name) => {
    const text = await (await fetch(`http://127.0.0.1:${ports.adminPort}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
  };
  return { child, port: ports.port, metric };
}

/** Subscribes on a connection of its own. @returns The time until the first snapshot, and a way to wait for changes. */
async function follow({ port }, collection) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, "tidewire.v1");
  const waiting = new Map();
  const once = (type) => new Promise((resolve) => waiting.set(type, resolve));
  socket.on("message", (text) => {
    const message = JSON.parse(String(text));
    waiting.get(message.type)?.(message);
  });
  await new Promise((resolve) => socket.once("open", resolve));
  const welcome = once("welcome");
  socket.send(JSON.stringify({ type: "hello" }));
  await welcome;
  const snapshot = once("snapshot");
  const startedMs = performance.now();
  socket.send(JSON.stringify({ type: "subscribe", id: "q", collection, filter: { _id: 1 } }));
  await snapshot;
  return { ms: performance.now() - startedMs, once, close: () => socket.close() };
}

function mongodMs() {
  const fields = readFileSync(`/proc/${mongod.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

async function writeIdle() {
  for (let done = 0; done < WRITES; done += 1_000)
    await db.collection("idle").bulkWrite(
      Array.from({ length: 1_000 }, (_, _id) => ({
        updateOne: { filter: { _id }, update: { $inc: { n: 1 } } },
      })),
      { ordered: false },
    );
}

/** mongod's processor time for each write to a collection that nobody follows, in microseconds. */
async function costOf(unfollowedAfter) {
  const nodes = [];
  for (let number = 0; number < NODES; number++) nodes.push(await startNode(number, unfollowedAfter));
  const followers = await Promise.all(nodes.map((node) => follow(node, "busy")));
  const isLeftOut = async () => {
    const read = await Promise.all(nodes.map(({ metric }) => metric("tidewire_collections_read")));
    return read.every((count) => count === (unfollowedAfter === "0s" ? 2 : 1));
  };
  await until(isLeftOut);
  await writeIdle();
  await sleep(2_000);
  const beforeMs = mongodMs();
  await writeIdle();
  await sleep(2_000);
  const micros = (1_000 * (mongodMs() - beforeMs)) / WRITES;
  const first = [];
  const further = [];
  const delayed = [];
  if (unfollowedAfter !== "0s")
    for (let round = 0; round < FIRST_FOLLOWERS; round++) {
      await until(isLeftOut);
      const changed = followers[0].once("changed");
      const idle = follow(nodes[0], "idle");
      const writtenMs = performance.now();
      await db.collection("busy").updateOne({ _id: 1 }, { $inc: { n: 1 } });
      await changed;
      delayed.push(performance.now() - writtenMs);
      const { ms, close } = await idle;
      const second = await follow(nodes[0], "idle");
      first.push(ms);
      further.push(second.ms);
      second.close();
      close();
    }
  for (const { close } of followers) close();
  for (const { child } of nodes) child.kill("SIGKILL");
  return { micros, first, further, delayed };
}

const nobody = await (async () => {
  await writeIdle();
  const beforeMs = mongodMs();
  await writeIdle();
  return (1_000 * (mongodMs() - beforeMs)) / WRITES;
})();
const read = await costOf("0s");
const leftOut = await costOf("1s");
const ms = (values) => `${median(values).toFixed(1)} ms, at most ${Math.max(...values).toFixed(1)} ms`;
console.log(`mongod, for each write of 1 kB to a collection that nobody follows, with ${NODES} nodes:`);
console.log(`  without nodes     ${nobody.toFixed(0)} µs`);
console.log(`  read by each node ${read.micros.toFixed(0)} µs`);
console.log(`  left out          ${leftOut.micros.toFixed(0)} µs`);
console.log(`snapshot of the first follower: ${ms(leftOut.first)}; of the next one: ${ms(leftOut.further)}`);
console.log(`a change of another collection meanwhile: ${ms(leftOut.delayed)}`);
await mongo.close();
await mongod.stop();
rmSync(directory, { recursive: true, force: true });
