/**
 * The costs of many nodes that read every change, with a change stream each and with the shared tail: `npm run bench:fleet -- --help`.
 * All variants are measured in each round, so that other load on the machine affects all of them.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "@redis/client";
import { clockMs, Fleet } from "./lib/fleet-nodes.mjs";
import { nameOf, summarize, tablesOf, verdictsOf } from "./lib/fleet-report.mjs";
import { cpuMs, cpuMsWithEnded, profiled, Worker } from "./lib/processes.mjs";
import { dist, MongoClient } from "./lib/product.mjs";
import { writeDocs } from "./lib/report.mjs";
import { quantile } from "./lib/statistics.mjs";

const HELP = `Usage: npm run bench:fleet -- [options]

  --nodes N,N      numbers of nodes; default: 1,3,10,24,50
  --rounds N       default: 3
  --docs           writes the tables into docs/performance.md
  --json FILE      keeps the values of each round
  --mongodb URI    a replica set of this machine to use instead of one started for the run; its CPU time is then unknown
  --profile FILE   saves a CPU profile of the node that fills the tail; the figures are no good then
  --quick          1 and 3 nodes, 1 round, few writes: shows that it runs, and measures nothing`;

const { values: flags } = parseArgs({
  options: {
    nodes: { type: "string" },
    rounds: { type: "string" },
    docs: { type: "boolean", default: false },
    json: { type: "string" },
    mongodb: { type: "string" },
    profile: { type: "string" },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const NODES = (flags.nodes ?? (flags.quick ? "1,3" : "1,3,10,24,50")).split(",").map(Number);
const ROUNDS = Number(flags.rounds ?? (flags.quick ? 1 : 3));
/** Nodes other than the one that fills the tail are spread over so many processes. */
const PROCESSES = 2;
const BURST = flags.quick ? 50 : 1_000;
const BURSTS = flags.quick ? 2 : 5;
const PACED = { perSecond: 100, forMs: flags.quick ? 500 : 5_000 };
/** For the delay: bursts of another size, with pauses, so that each one finds the readers idle. */
const DELAYED_BURSTS = { size: 100, count: flags.quick ? 2 : 20, everyMs: 200 };
const IDLE_MS = flags.quick ? 200 : 3_000;

async function startMongod(directory) {
  if (flags.mongodb !== undefined) return { uri: flags.mongodb, pid: undefined, stop: async () => {} };
  const { startEmbeddedMongod } = await dist("source/embedded-mongod.js");
  const report = (fields, text) => process.stderr.write(`${text} ${JSON.stringify(fields)}\n`);
  const logger = { info: () => {}, warn: report, error: report };
  return startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger });
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A Redis as the docs describe it: it keeps nothing on disk. */
async function startRedis(directory) {
  const port = await freePort();
  const args = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "no",
    "--dir",
    directory,
  ];
  const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill("SIGKILL"));
  await new Promise((resolve, reject) => {
    child.once("error", () =>
      reject(new Error("redis-server is not installed; apt-get install redis-server")),
    );
    child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.includes("Ready to accept connections")) resolve();
    });
  });
  const client = await createClient({ url: `redis://127.0.0.1:${port}`, RESP: 2 }).connect();
  return {
    url: `redis://127.0.0.1:${port}`,
    cpuMs: () => cpuMs(child.pid),
    async sentBytes() {
      return Number(/total_net_output_bytes:(\d+)/.exec(await client.info("stats"))?.[1]);
    },
    async stop() {
      client.destroy();
      child.removeAllListeners("exit").kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

/** The costs of one way to write, in microseconds for each write, and bytes that Redis sent for each write. */
async function costs(fleet, { mongod, redis, nodes, isTail }, write) {
  const at = async () => ({
    mongod: mongod.pid === undefined ? Number.NaN : cpuMsWithEnded(mongod.pid),
    redis: redis.cpuMs(),
    sent: await redis.sentBytes(),
    ...fleet.cpuMs(),
  });
  const before = await at();
  await fleet.deliver(write);
  const after = await at();
  const each = (name) => ((after[name] - before[name]) * 1_000) / fleet.written;
  return {
    mongod: each("mongod"),
    redis: isTail ? each("redis") : Number.NaN,
    first: each("first"),
    other: nodes === 1 ? Number.NaN : each("others") / (nodes - 1),
    sentBytes: isTail ? each("sent") / 1_000 : Number.NaN,
  };
}

/** CPU time while nobody writes, in microseconds for each second. */
async function idle({ mongod, redis, isTail }) {
  const at = () => [
    mongod.pid === undefined ? Number.NaN : cpuMsWithEnded(mongod.pid),
    redis.cpuMs(),
    clockMs(),
  ];
  const before = at();
  await sleep(IDLE_MS);
  const [mongodMs, redisMs, ms] = at().map((value, i) => value - before[i]);
  return { mongod: (1e6 * mongodMs) / ms, redis: isTail ? (1e6 * redisMs) / ms : Number.NaN };
}

async function measure(fleet, variant, servers) {
  const { nodes, isTail } = variant;
  const about = { ...servers, ...variant };
  await fleet.start(nodes, { uri: servers.mongod.uri, redisUrl: isTail ? servers.redis.url : undefined });
  try {
    const bursts = () => fleet.writeBursts(BURST, BURSTS);
    const paced = () => fleet.writePaced(PACED);
    const { size, count, everyMs } = DELAYED_BURSTS;
    const inBursts = await costs(fleet, about, bursts);
    const inPace = await costs(fleet, about, paced);
    const delaysOf = async (write) => {
      const delays = await fleet.delays(write);
      return { p50: quantile(delays, 0.5), p99: quantile(delays, 0.99) };
    };
    return {
      bursts: { ...inBursts, ...(await delaysOf(() => fleet.writeBursts(size, count, everyMs))) },
      paced: { ...inPace, ...(await delaysOf(paced)) },
      idle: await idle(about),
    };
  } finally {
    await fleet.stop();
  }
}

function resultOf(rounds) {
  const rows = summarize(rounds);
  const machine = `${cpus().length} × ${cpus()[0].model.trim()}, Node ${process.version}`;
  const { size, count } = DELAYED_BURSTS;
  const { bursts, paced, idle } = tablesOf(rows);
  return [
    `${ROUNDS} rounds, ${machine}.`,
    `In bursts: ${BURST} updates at once, ${BURSTS} times; the delay in bursts of ${size}, ${count} times.`,
    bursts,
    `Paced: ${PACED.perSecond} updates a second, one by one.`,
    paced,
    "Idle, nobody writes.",
    idle,
    verdictsOf(rows).join("\n"),
  ].join("\n\n");
}

async function main() {
  if (flags.help) return process.stdout.write(`${HELP}\n`);
  const directory = await mkdtemp(join(tmpdir(), "tidewire-fleet-"));
  const mongod = await startMongod(directory);
  const redis = await startRedis(directory);
  const mongo = await new MongoClient(mongod.uri).connect();
  try {
    const how = flags.profile === undefined ? {} : profiled(flags.profile);
    const first = await Worker.fork("fleet-readers.mjs", {}, how);
    const others = await Promise.all(
      Array.from({ length: PROCESSES }, () => Worker.fork("fleet-readers.mjs")),
    );
    const bare = await Worker.fork("fleet-readers.mjs");
    const fleet = new Fleet([first, ...others], bare, mongo);
    const variants = NODES.flatMap((nodes) => [false, true].map((isTail) => ({ nodes, isTail })));
    const rounds = [];
    if (flags.profile !== undefined) first.signal();
    for (let n = 1; n <= ROUNDS; n++) {
      const round = [];
      for (const variant of variants) {
        const figures = await measure(fleet, variant, { mongod, redis });
        process.stderr.write(`round ${n}: ${nameOf(variant)}: ${JSON.stringify(figures)}\n`);
        round.push({ variant, figures });
      }
      rounds.push(round);
    }
    if (flags.profile !== undefined) first.signal();
    await sleep(flags.profile === undefined ? 0 : 2_000); // the profile is being written
    const result = resultOf(rounds);
    process.stdout.write(`${result}\n`);
    if (flags.json !== undefined) await writeFile(flags.json, JSON.stringify(rounds, null, 2));
    if (flags.docs) await writeDocs("fleet", result);
    await Promise.all([first, ...others, bare].map((worker) => worker.stop()));
  } finally {
    await mongo.close();
    await redis.stop();
    await mongod.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
