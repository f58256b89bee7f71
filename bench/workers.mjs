// The gain of a second worker: the same clients and changes with server.workers 1 and 2, in interleaved rounds.
// npm run bench:workers [-- ROUNDS]. Processor time is that of the service's own processes (/proc/PID/task/*/schedstat); deliveries
// per second are those of the busiest one, had it a core of its own: clients, writer and mongod share the machine.
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SignJWT } from "jose";
import { MongoClient } from "mongodb";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const ROUNDS = Number(process.argv[2] ?? 5);
/** The third is what a worker would be without the other one: on a machine of its own. */
const SETUPS = {
  "1 worker": { workers: 1, part: 1 },
  "2 workers": { workers: 2, part: 1 },
  "1 worker, half the clients": { workers: 1, part: 0.5 },
};
const SECRET = "a secret of more than thirty-two bytes, for benchmarks";
const DOCUMENTS = 5_000;
const TICK_MS = 10;
const everyone = (count) => Array.from({ length: count }, () => [{}]);
const CASES = {
  // Every change goes to every client, and is written to each alone.
  "1,000 clients, 25 a second": {
    filters: everyone(1_000),
    changes: 200,
    burst: 1,
    pauseMs: 40,
    deliveriesEach: 1_000,
  },
  "4,000 clients, 10 a second": {
    filters: everyone(4_000),
    changes: 100,
    burst: 1,
    pauseMs: 100,
    deliveriesEach: 4_000,
  },
  // The same, but what comes together is written together.
  "1,000 clients, bursts of 100": {
    filters: everyone(1_000),
    changes: 2_000,
    burst: 100,
    pauseMs: 0,
    deliveriesEach: 1_000,
  },
  // Every change goes to one of 5,000 live queries.
  "5,000 live queries, bursts of 1000": {
    filters: Array.from({ length: 50 }, (_, c) =>
      Array.from({ length: 100 }, (_, q) => ({ room: c * 100 + q })),
    ),
    changes: 10_000,
    burst: 1_000,
    pauseMs: 0,
    deliveriesEach: 1,
  },
};

const directory = mkdtempSync(join(tmpdir(), "tidewire-bench-"));
const log = { info() {}, warn: console.error, error: console.error };
const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger: log });
const mongo = await new MongoClient(mongod.uri).connect();
const items = mongo.db("shop").collection("items");
const token = await new SignJWT({ sub: "u1" })
  .setProtectedHeader({ alg: "HS256" })
  .setExpirationTime("1d")
  .sign(new TextEncoder().encode(SECRET));

/** Processor time of all threads so far, in milliseconds: exactly, where `stat` counts in hundredths of a second. */
function cpuMsOf(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanos = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
  );
  return nanos.reduce((a, b) => a + b) / 1e6;
}

/** The part of it that the system spent for the process; most of a write. */
function systemMsOf(pid) {
  return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")[12]) * TICK_MS;
}

const rssMiBOf = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1_024;

async function startService(workers) {
  const many = 1_000_000;
  const config = {
    mongodb: { uri: mongod.uri, database: "shop", stateDatabase: "bench" },
    server: { port: 0, admin: { port: 0 }, workers },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET } },
    collections: { items: { rules: [{ name: "everyone" }] } },
    limits: {
      requestsPerSecond: many,
      requestBurst: many,
      connectRate: many,
      connectRatePerAddress: many,
      connectBurstPerAddress: many,
      connectionsPerAddress: many,
      connectionsPerUser: many,
      userRequestsPerSecond: many,
      userRequestBurst: many,
      subscriptionsPerUser: many,
      liveQueriesPerUser: many,
      filterWorkPerUser: 1_000_000_000,
      workPerUser: "1s",
    },
    log: { level: "info" },
  };
  const file = join(directory, "tidewire.json");
  writeFileSync(file, JSON.stringify(config));
  const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
  const child = spawn(process.execPath, [main, "start", "--config", file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { port, adminPort } = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the service ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line));
    });
  });
  for (;;) {
    const { ready, workers: own = [] } = await (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).json();
    if (ready) return { child, port, pids: [child.pid, ...own.map(({ pid }) => pid)] };
    await sleep(50);
  }
}

async function write({ changes, burst, pauseMs }) {
  for (let n = 0; n < changes; n += burst) {
    await items.bulkWrite(
      Array.from({ length: burst }, (_, i) => ({
        updateOne: { filter: { _id: (n + i) % DOCUMENTS }, update: { $inc: { n: 1 } } },
      })),
      { ordered: false },
    );
    if (pauseMs > 0) await sleep(pauseMs);
  }
}

/** The clients' process, to be asked. */
function forkClients() {
  const child = fork(fileURLToPath(new URL("workers-clients.mjs", import.meta.url)));
  let onAnswer;
  child.on("message", (message) => onAnswer.resolve(message.changes));
  child.on("exit", () => onAnswer.reject(new Error("the clients have ended")));
  const ask = (message) =>
    new Promise((resolve, reject) => {
      onAnswer = { resolve, reject };
      child.send(message);
    });
  return { ask, end: () => child.kill("SIGKILL") };
}

async function run(load, { workers, part }) {
  const filters = load.filters.slice(0, load.filters.length * part);
  await items.deleteMany({});
  const pad = "x".repeat(240);
  await items.insertMany(Array.from({ length: DOCUMENTS }, (_, i) => ({ _id: i, n: 0, room: i, pad })));
  const service = await startService(workers);
  const clients = forkClients();
  const url = `ws://127.0.0.1:${service.port}/v1/ws`;
  const primaryMs = cpuMsOf(service.child.pid);
  await clients.ask({ ask: "connect", url, token, filters });
  const connectMs = workers === 1 ? 0 : cpuMsOf(service.child.pid) - primaryMs;
  // Structures that the first changes build are not measured.
  await write({ ...load, changes: load.burst });
  await sleep(2_000);
  const from = await clients.ask({ ask: "count" });
  const before = service.pids.map(cpuMsOf);
  const systemBefore = service.pids.map(systemMsOf);
  await write(load);
  const deliveries = load.changes * load.deliveriesEach * part;
  let got = 0;
  for (const giveUpAt = Date.now() + 120_000; got < deliveries && Date.now() < giveUpAt; ) {
    await sleep(200);
    got = (await clients.ask({ ask: "count" })) - from;
  }
  if (got !== deliveries) throw new Error(`${got} deliveries instead of ${deliveries}`);
  const cpuMs = service.pids.map((pid, i) => cpuMsOf(pid) - before[i]);
  const systemMs = service.pids.map((pid, i) => systemMsOf(pid) - systemBefore[i]);
  const sum = (list) => list.reduce((a, b) => a + b);
  const rssMiB = sum(service.pids.map(rssMiBOf));
  clients.end();
  service.child.kill();
  await once(service.child, "exit");
  return {
    microsPerDelivery: rounded((1_000 * sum(cpuMs)) / deliveries),
    ofThatSystem: rounded((1_000 * sum(systemMs)) / deliveries),
    microsPerChangeOfBusiest: rounded((1_000 * Math.max(...cpuMs)) / load.changes),
    deliveriesPerSecond: Math.round((1_000 * deliveries) / Math.max(...cpuMs)),
    primaryMicrosPerConnection: rounded((1_000 * connectMs) / filters.length),
    rssMiB: Math.round(rssMiB),
  };
}

const rounded = (value) => Number(value.toPrecision(3));
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const results = {};
for (let round = 1; round <= ROUNDS; round++) {
  for (const [name, load] of Object.entries(CASES)) {
    for (const [setup, how] of Object.entries(SETUPS)) {
      const key = `${name}; ${setup}`;
      const figures = await run(load, how);
      console.error(`round ${round}: ${key}: ${JSON.stringify(figures)}`);
      results[key] ??= [];
      results[key].push(figures);
    }
  }
}
await mongo.close();
await mongod.stop();
rmSync(directory, { recursive: true });

const medians = {};
for (const [key, rounds] of Object.entries(results)) {
  const names = Object.keys(rounds[0]);
  medians[key] = Object.fromEntries(
    names.map((name) => [name, median(rounds.map((figures) => figures[name]))]),
  );
}
const perSecond = (name, setup) => medians[`${name}; ${setup}`].deliveriesPerSecond;
const ratios = Object.fromEntries(
  Object.keys(CASES).map((name) => {
    const against = (deliveriesPerSecond) => rounded(deliveriesPerSecond / perSecond(name, "1 worker"));
    const apart = 2 * perSecond(name, "1 worker, half the clients");
    return [name, { together: against(perSecond(name, "2 workers")), apart: against(apart) }];
  }),
);
console.table(medians);
console.log("deliveries per second of 2 workers against 1: together, and had each a machine of its own");
console.table(ratios);
const machine = { cpu: cpus()[0]?.model, cores: availableParallelism(), node: process.version };
console.log(JSON.stringify({ machine, rounds: ROUNDS, medians, ratios }));
