// Measures presence: how soon a join is visible in a large room, cuts shorter than the ttl, and the return of the members of a
// killed node. npm run bench:presence [-- MEMBERS [CUTS]]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SignJWT } from "jose";
import { MongoClient } from "mongodb";
import { WebSocket } from "ws";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const MEMBERS = Number(process.argv[2] ?? 10_000);
const CUTS = Number(process.argv[3] ?? 1_000);
const MEASURED_JOINS = Math.min(2_000, MEMBERS);
const JOINS_PER_SECOND = 200;
const TTL_MS = 15_000;
const LEASE_MS = 5_000;
const SECRET = "a secret of more than thirty-two bytes, for a benchmark";
const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

const directory = mkdtempSync(join(tmpdir(), "tidewire-bench-"));
const log = { info() {}, warn: console.error, error: console.error };
const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger: log });
const mongo = await new MongoClient(mongod.uri).connect();

const until = async (is) => {
  while (!(await is())) await sleep(50);
};

async function startNode(number) {
  const file = join(directory, `node-${number}.json`);
  const many = 1_000_000;
  const config = {
    mongodb: { uri: mongod.uri, database: "shop" },
    server: { port: 0, admin: { port: 0 } },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET } },
    presence: { ttl: `${TTL_MS}ms`, rules: [{ name: "anyone" }] },
    collections: { presence: { rules: [{ name: "everyone" }] } },
    limits: {
      connections: 100_000,
      sockets: 100_000,
      connectionsPerAddress: many,
      socketsPerAddress: many,
      connectRate: many,
      connectRatePerAddress: many,
      connectBurstPerAddress: many,
      snapshotDocuments: 100_000,
    },
    log: { level: "info" },
  };
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [MAIN, "start", "--config", file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { port, adminPort } = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`a node ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { msg, ...ports } = JSON.parse(line);
      if (msg === "listening") resolve(ports);
    });
  });
  child.removeAllListeners("exit");
  // A node listens before its change stream has begun, and refuses subscriptions until then.
  await until(async () => (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).ok);
  return { child, port };
}

const tokenOf = (sub) =>
  new SignJWT({ sub })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("4h")
    .sign(new TextEncoder().encode(SECRET));

/** Connects a user. @returns A way to send, and to wait for the next message of a type. */
async function connect({ port }, sub, onMessage = () => {}) {
  const token = await tokenOf(sub);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, "tidewire.v1");
  const waiting = new Map();
  socket.on("error", () => {});
  socket.on("message", (text) => {
    const message = JSON.parse(String(text));
    onMessage(message);
    waiting.get(message.type)?.(message);
  });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("close", () => reject(new Error("closed")));
  });
  const once = (type) => new Promise((resolve) => waiting.set(type, resolve));
  const send = (message) => socket.send(JSON.stringify(message));
  const welcome = once("welcome");
  send({ type: "hello", token });
  await welcome;
  return { sub, socket, once, send };
}

async function enter(client) {
  const entered = client.once("entered");
  client.send({ type: "enter", id: "e", room: "hall", tab: "tab", data: { name: client.sub } });
  await entered;
}

/** Follows the room. @returns The members that are shown, and how often one left. */
async function follow(node) {
  const arrived = new Map();
  const shown = { users: new Map(), left: 0, arrived };
  const client = await connect(node, "follower", (message) => {
    for (const doc of message.type === "snapshot" ? message.docs : []) shown.users.set(doc._id, doc.user);
    if (message.type === "added") {
      shown.users.set(message.doc._id, message.doc.user);
      arrived.get(message.doc.user)?.(performance.now());
    }
    if (message.type === "removed") {
      shown.users.delete(message._id);
      shown.left++;
    }
  });
  client.send({ type: "subscribe", id: "q", collection: "presence", filter: { room: "hall" } });
  return shown;
}

const entries = mongo.db("tidewire").collection("presence");
const leases = mongo.db("tidewire").collection("leases");
const now = async () => (await mongo.db("admin").command({ ping: 1 })).operationTime;
async function writesSince(ts) {
  const found = await mongo
    .db("local")
    .collection("oplog.rs")
    .find({
      ts: { $gt: ts },
      $or: [
        { ns: "tidewire.presence", op: { $in: ["i", "u", "d"] } },
        { "o.applyOps.ns": "tidewire.presence" },
      ],
    })
    .toArray();
  return found.length;
}
const quantile = (values, q) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];
const inGroups = async (items, size, run) => {
  for (let at = 0; at < items.length; at += size)
    await Promise.all(items.slice(at, at + size).map((item, i) => run(item, at + i)));
};

const nodes = [await startNode(0), await startNode(1)];
const followers = [await follow(nodes[0]), await follow(nodes[1])];
const members = [];
const early = Array.from({ length: MEMBERS - MEASURED_JOINS }, (_, i) => `early-${i}`);
await inGroups(early, 200, async (sub, i) => {
  const node = i % 2;
  const client = await connect(nodes[node], sub);
  members.push({ client, node });
  await enter(client);
});
await until(() => followers[0].users.size >= early.length);
console.log(
  `${early.length} members are in the room; ${MEASURED_JOINS} more join, ${JOINS_PER_SECOND} a second`,
);

// Connected before, so that the join alone is measured.
const late = [];
await inGroups(
  Array.from({ length: MEASURED_JOINS }, (_, i) => `late-${i}`),
  200,
  async (sub, i) => {
    const node = i % 2;
    late.push({ client: await connect(nodes[node], sub), node });
  },
);
const delays = [];
const answers = [];
const startedMs = performance.now();
await Promise.all(
  late.map(async ({ client, node }, i) => {
    await sleep(startedMs + (i * 1_000) / JOINS_PER_SECOND - performance.now());
    // Seen by the follower of the other node.
    const seen = new Promise((resolve) => followers[1 - node].arrived.set(client.sub, resolve));
    const sentMs = performance.now();
    const answered = enter(client).then(() => answers.push(performance.now() - sentMs));
    delays.push((await seen) - sentMs);
    await answered;
  }),
);
members.push(...late);
console.log(
  `join visible on the other node: p50 ${quantile(delays, 0.5).toFixed(0)} ms, p99 ${quantile(delays, 0.99).toFixed(0)} ms; answered: p50 ${quantile(answers, 0.5).toFixed(0)} ms, p99 ${quantile(answers, 0.99).toFixed(0)} ms`,
);

// Cuts shorter than the ttl, at random, to the same node or the other.
let from = await now();
const before = followers.map(({ left }) => left);
await inGroups(
  Array.from({ length: CUTS }, (_, i) => i),
  100,
  async (i) => {
    const member = members[i % members.length];
    member.client.socket.terminate();
    await sleep(Math.random() * (TTL_MS - 3_000));
    member.node = Math.random() < 0.5 ? 0 : 1;
    member.client = await connect(nodes[member.node], member.client.sub);
    await enter(member.client);
  },
);
await sleep(TTL_MS + 2_000);
console.log(
  `${CUTS} cuts shorter than the ttl: ${followers.reduce((sum, { left }, i) => sum + left - before[i], 0)} false leaves, ${await writesSince(from)} writes of entries`,
);

// The members of a killed node return to the other one at once.
from = await now();
const { renewals } = await leases.findOne({ _id: /^presence/ }, { sort: { renewals: -1 } });
const moved = members.filter(({ node }) => node === 1);
const staying = moved.slice(0, -100);
const left = followers[0].left;
const killedMs = performance.now();
nodes[1].child.kill("SIGKILL");
await inGroups(staying, 500, async (member) => {
  member.client.socket.terminate();
  member.client = await connect(nodes[0], member.client.sub);
  await enter(member.client);
});
const backMs = performance.now() - killedMs;
const writes = await writesSince(from);
await until(() => followers[0].left - left >= 100);
const goneMs = performance.now() - killedMs;
await sleep(5_000);
const lease = await leases.findOne(
  { _id: /^presence/ },
  { sort: { renewals: -1 }, projection: { items: 0 } },
);
console.log(
  `a killed node: ${staying.length} members returned to the other one within ${(backMs / 1_000).toFixed(1)} s, ${writes} writes of entries, ${Number(lease.renewals) - Number(renewals)} renewals of its lease in all`,
);
console.log(
  `the 100 that did not return were gone after ${(goneMs / 1_000).toFixed(1)} s (lease and ttl: ${(LEASE_MS + TTL_MS) / 1_000} s); ${followers[0].left - left - 100} false leaves; ${await entries.countDocuments()} entries for ${members.length - 100} members`,
);

for (const { child } of nodes) child.kill("SIGKILL");
await mongo.close();
await mongod.stop();
rmSync(directory, { recursive: true, force: true });
process.exit(0);
