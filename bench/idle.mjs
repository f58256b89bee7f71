/**
 * Many idle connections with a subscription each, on one node: their memory and CPU time, and the return of a part of them within
 * a second: `npm run bench:idle -- --help`.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { COLLECTABLE, cpuMs, rssKiB, startProgram, Worker } from "./lib/processes.mjs";
import { dist, MongoClient, ROOT } from "./lib/product.mjs";
import { writeDocs } from "./lib/report.mjs";
import { quantile } from "./lib/statistics.mjs";
import { SECRET } from "./lib/tokens.mjs";

const HELP = `Usage: npm run bench:idle -- [options]

  --connections N   default: 20000. A process may open as many files as ulimit -n says
  --live-queries N  live queries, shared by the connections; default: 1000
  --cut N           connections that are cut off and come back within a second; default: a quarter
  --changes N       changes of each live query that they miss; default: 10
  --workers N       server.workers; default: 1
  --docs            writes the table into docs/performance.md
  --mongodb URI     a replica set to use instead of one started for the run
  --quick           200 connections: shows that it runs, and measures nothing`;

const { values: flags } = parseArgs({
  options: {
    connections: { type: "string" },
    "live-queries": { type: "string" },
    cut: { type: "string" },
    changes: { type: "string" },
    workers: { type: "string" },
    docs: { type: "boolean", default: false },
    mongodb: { type: "string" },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const CONNECTIONS = Number(flags.connections ?? (flags.quick ? 200 : 20_000));
const LIVE_QUERIES = Number(flags["live-queries"] ?? (flags.quick ? 10 : 1_000));
/** A multiple of the number of processes, which have equal shares. */
const CUT = Number(flags.cut ?? Math.floor(CONNECTIONS / 8) * 2);
const CHANGES = Number(flags.changes ?? 10);
const WORKERS = Number(flags.workers ?? 1);
/** Of clients. */
const PROCESSES = 2;
const WITHIN_MS = 1_000;
/** How long the connections are idle before they are measured, and while their CPU time is. */
const IDLE_MS = flags.quick ? 500 : 30_000;
const DATABASE = `bench-idle-${randomBytes(4).toString("hex")}`;
const MAIN = fileURLToPath(new URL("dist/cli/main.js", ROOT));
/** Open files of a service besides those of its connections. */
const OTHER_FILES = 200;

/** Everybody connects from one machine, at once. All other limits are the defaults. */
const LIMITS = {
  connections: 100_000,
  sockets: 100_000,
  socketsPerAddress: 100_000,
  connectionsPerAddress: 100_000,
  connectRate: 100_000,
  connectRatePerAddress: 100_000,
  connectBurstPerAddress: 100_000,
};

async function startMongod(directory) {
  if (flags.mongodb !== undefined) return { uri: flags.mongodb, stop: dropDatabases };
  const { startEmbeddedMongod } = await dist("source/embedded-mongod.js");
  const log = (fields, text) => process.stderr.write(`${text} ${JSON.stringify(fields)}\n`);
  const logger = { info: () => {}, warn: log, error: log };
  return startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger });
}

async function dropDatabases() {
  const client = await new MongoClient(flags.mongodb).connect();
  for (const name of [DATABASE, `${DATABASE}-state`]) await client.db(name).dropDatabase();
  await client.close();
}

async function startService(directory, uri) {
  const file = join(directory, "tidewire.json");
  const configuration = {
    mongodb: { uri, database: DATABASE, stateDatabase: `${DATABASE}-state` },
    server: { port: 0, admin: { port: 0 }, workers: WORKERS },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET } },
    collections: { docs: { rules: [{ name: "everyone" }] } },
    limits: LIMITS,
    log: { level: "info" },
  };
  await writeFile(file, JSON.stringify(configuration));
  const find = (line) => (line.includes('"listening"') ? JSON.parse(line) : undefined);
  const service = await startProgram([MAIN, "start", "--config", file], find, COLLECTABLE);
  const { port, adminPort } = service.ready;
  for (;;) {
    const { ready, workers = [] } = await (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).json();
    const pids = workers.length === 0 ? [service.pid] : [service.pid, ...workers.map(({ pid }) => pid)];
    if (ready) return { ...service, port, pids };
    await sleep(50);
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const rssOf = ({ pids }) => sum(pids.map(rssKiB));
const cpuOf = ({ pids }) => sum(pids.map(cpuMs));

/** Resident memory after a full collection. */
async function collectedRssOf(service) {
  for (const pid of service.pids) process.kill(pid, "SIGUSR2");
  await sleep(flags.quick ? 500 : 3_000);
  return rssOf(service);
}

const callAll = (clients, name, argument) =>
  Promise.all(clients.map((client, i) => client.call(name, argument?.(i))));

async function untilAllHave(clients, n) {
  const behind = async () => sum(await callAll(clients, "behind", () => ({ n })));
  for (let left = await behind(); left > 0; left = await behind()) await sleep(50);
}

async function write(docs, changes) {
  for (let i = 0; i < changes; i++) await docs.updateMany({}, { $inc: { n: 1 } });
}

/** Everybody connects, and stays idle. */
async function connectAll(service, clients) {
  const emptyKiB = await collectedRssOf(service);
  const share = CONNECTIONS / PROCESSES;
  const startedMs = performance.now();
  const emptyMs = cpuOf(service);
  const open = (i) => ({ from: i * share, count: share, liveQueries: LIVE_QUERIES });
  await callAll(clients, "open", open);
  const connectMs = performance.now() - startedMs;
  const connectMicros = (1_000 * (cpuOf(service) - emptyMs)) / CONNECTIONS;
  await sleep(IDLE_MS);
  const beforeMs = cpuOf(service);
  await sleep(IDLE_MS);
  const idleMs = cpuOf(service) - beforeMs;
  const asIsKiB = rssOf(service) - emptyKiB;
  const collectedKiB = (await collectedRssOf(service)) - emptyKiB;
  return {
    perSecond: CONNECTIONS / (connectMs / 1_000),
    connectMicros,
    idleShare: (100 * idleMs) / IDLE_MS,
    asIsKiB: asIsKiB / CONNECTIONS,
    collectedKiB: collectedKiB / CONNECTIONS,
    totalMiB: rssOf(service) / 1_024,
  };
}

/** A part is cut off, misses changes, and comes back within a second. */
async function cutAndReturn(service, clients, docs) {
  await callAll(clients, "cut", () => ({ count: CUT / PROCESSES }));
  await write(docs, CHANGES);
  await untilAllHave(clients, CHANGES);
  const beforeMs = cpuOf(service);
  const startedMs = performance.now();
  const returning = callAll(clients, "comeBack", () => ({ withinMs: WITHIN_MS, wanted: CHANGES }));
  const times = (await returning).flat();
  const allMs = performance.now() - startedMs;
  const eachMicros = (1_000 * (cpuOf(service) - beforeMs)) / CUT;
  // Everybody has every change, and receives the next ones.
  await untilAllHave(clients, CHANGES);
  await write(docs, 2);
  await untilAllHave(clients, CHANGES + 2);
  return { times, allMs, eachMicros };
}

function totalsOf(all) {
  const total = (name) => sum(all.map((totals) => totals[name]));
  const resumed = sum(all.map(({ starts }) => starts.resumed ?? 0));
  return {
    ...Object.fromEntries(["lost", "twice", "cut", "retries"].map((name) => [name, total(name)])),
    resumed,
  };
}

const shown = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0));

function tableOf(connected, { times, allMs, eachMicros }, totals) {
  const [p50, p99] = [0.5, 0.99].map((at) => quantile(times, at));
  const rows = [
    ["RSS of each connection, KiB", shown(connected.asIsKiB)],
    ["RSS of each connection after a collection, KiB", shown(connected.collectedKiB)],
    ["RSS of the node, MiB", shown(connected.totalMiB)],
    ["connected per second", shown(connected.perSecond)],
    ["CPU time of each connect, µs", shown(connected.connectMicros)],
    ["CPU time while all are idle, % of a core", shown(connected.idleShare)],
    [`${CUT} back after a cut: p50, ms`, shown(p50)],
    [`${CUT} back after a cut: p99, ms`, shown(p99)],
    [`${CUT} back after a cut: the last one, ms from the first attempt`, shown(allMs)],
    ["CPU time of each return, µs", shown(eachMicros)],
    ["attempts that failed", String(totals.retries)],
    ["resumed, without a snapshot", String(totals.resumed)],
    [
      "changes lost, changes twice, connections cut by the node",
      `${totals.lost}, ${totals.twice}, ${totals.cut}`,
    ],
  ];
  const aims = [
    ["RSS of each connection", `${shown(connected.asIsKiB)} KiB`, connected.asIsKiB <= 12, "at most 12 KiB"],
    ["p99 of the returns", `${shown(p99)} ms`, p99 < 10_000, "under 10 s"],
  ];
  const verdicts = aims.map(
    ([what, is, isMet, wanted]) => `- ${isMet ? "met" : "MISSED"}: ${what}: ${is}, wanted ${wanted}`,
  );
  const lines = rows.map(([name, value]) => `| ${name} | ${value} |`);
  return [["|  |  |", "| --- | ---: |", ...lines].join("\n"), verdicts.join("\n")].join("\n\n");
}

async function measure(service, mongo) {
  const docs = mongo.db(DATABASE).collection("docs");
  const pad = "x".repeat(240);
  await docs.insertMany(Array.from({ length: LIVE_QUERIES }, (_, room) => ({ _id: room, room, n: 0, pad })));
  const fork = () => Worker.fork("idle-clients.mjs", { port: service.port });
  const clients = await Promise.all(Array.from({ length: PROCESSES }, fork));
  const connected = await connectAll(service, clients);
  const returned = await cutAndReturn(service, clients, docs);
  const all = await callAll(clients, "totals");
  const totals = totalsOf(all);
  if (totals.retries > 0)
    process.stderr.write(`failed attempts: ${JSON.stringify(all.map(({ reasons }) => reasons))}\n`);
  await Promise.all(clients.map((client) => client.stop()));
  if (totals.lost + totals.twice + totals.cut > 0 || totals.resumed !== CUT)
    throw new Error(`not everybody has everything once: ${JSON.stringify(totals)}`);
  return tableOf(connected, returned, totals);
}

/** Each process of the service holds its share of the connections as open files. */
function checkOpenFiles() {
  const { soft } = process.report.getReport().userLimits.open_files;
  const needed = CONNECTIONS / WORKERS + OTHER_FILES;
  if (soft === "unlimited" || soft >= needed) return;
  throw new Error(
    `${CONNECTIONS} connections need ${needed} open files in a process, and ulimit -n is ${soft}: raise it, use more --workers, or fewer --connections`,
  );
}

async function main() {
  if (flags.help) return process.stdout.write(`${HELP}\n`);
  checkOpenFiles();
  const directory = await mkdtemp(join(tmpdir(), "tidewire-idle-"));
  const mongod = await startMongod(directory);
  const mongo = await new MongoClient(mongod.uri).connect();
  try {
    const service = await startService(directory, mongod.uri);
    const table = await measure(service, mongo);
    await service.stop();
    const workers = WORKERS === 1 ? "" : `, ${WORKERS} workers`;
    const about = `${CONNECTIONS} connections, ${LIVE_QUERIES} live queries${workers}, ${cpus().length} × ${cpus()[0].model.trim()}, Node ${process.version}.`;
    const result = `${about}\n\n${table}`;
    process.stdout.write(`${result}\n`);
    if (flags.docs) await writeDocs("idle", result);
  } finally {
    await mongo.close();
    await mongod.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
