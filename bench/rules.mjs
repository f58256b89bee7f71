/**
 * The time of a plan, of a check in the editor of rules, and of a replay, on a service with live connections, and how much they delay
 * others: `npm run bench:rules -- --help`.
 */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isBrowserMissing, timeMarks } from "./lib/editor-marks.mjs";
import { cpuMsWithEnded, profiled, startProgram, Worker } from "./lib/processes.mjs";
import { dist, MongoClient, ROOT } from "./lib/product.mjs";
import { writeDocs } from "./lib/report.mjs";
import { rulesText } from "./lib/rule-sets.mjs";
import { quantile } from "./lib/statistics.mjs";
import { SECRET } from "./lib/tokens.mjs";

const HELP = `Usage: npm run bench:rules -- [options]

  --users N        connections, each with 5 subscriptions and 10 recorded requests; default: 1000
  --rounds N       plans, checks and replays of each kind; default: 30
  --seconds N      how long the bystander is observed, without plans and with them; default: 20
  --docs           writes the table into docs/performance.md
  --mongodb URI    a replica set to use instead of one started for the run
  --profile FILE   saves a CPU profile of the service while plans run; the figures are no good then
  --quick          20 users, 2 rounds: shows that it runs, and measures nothing`;

const { values: flags } = parseArgs({
  options: {
    users: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    docs: { type: "boolean", default: false },
    mongodb: { type: "string" },
    profile: { type: "string" },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const users = Number(flags.users ?? (flags.quick ? 20 : 1_000));
const rounds = Number(flags.rounds ?? (flags.quick ? 2 : 30));
const observedMs = 1_000 * Number(flags.seconds ?? (flags.quick ? 1 : 20));

const MAIN = fileURLToPath(new URL("dist/cli/main.js", ROOT));
const KEPT = 5;
const RECORDED = 5;
/** A node records up to 2,000 requests in five seconds. */
const USERS_AT_ONCE = 2_000 / (KEPT + RECORDED);
/** A node replays no more. */
const REQUESTS_MAX = 10_000;
const WRITES_PER_SECOND = 100;
const ADMIN_SECRET = randomBytes(32).toString("base64url");

/** Everybody connects from one machine, at once. All other limits are the defaults. */
const LIMITS = {
  connectionsPerAddress: 100_000,
  connectRate: 100_000,
  connectRatePerAddress: 100_000,
  connectBurstPerAddress: 100_000,
};

const DATABASE = `bench-rules-${randomBytes(4).toString("hex")}`;

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

/** Starts the service with the rule set in its database, as users do. */
async function startService(directory, uri) {
  const sha256 = createHash("sha256").update(ADMIN_SECRET).digest("hex");
  const file = join(directory, "tidewire.json");
  const configuration = {
    mongodb: { uri, database: DATABASE, stateDatabase: `${DATABASE}-state` },
    server: { port: 0, admin: { port: 0, tokens: [{ name: "bench", sha256, roles: ["view", "edit"] }] } },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET } },
    rules: { from: "database", record: "1d" },
    limits: LIMITS,
    log: { level: "info" },
  };
  await writeFile(file, JSON.stringify(configuration));
  const rules = join(directory, "rules.yaml");
  await writeFile(rules, rulesText());
  const push = [MAIN, "rules", "push", rules, "--config", file, "--message", "the rules", "--wait", "0s"];
  execFileSync(process.execPath, push, { stdio: ["ignore", "ignore", "inherit"] });
  const find = (line) => (line.includes('"listening"') ? JSON.parse(line) : undefined);
  const how = flags.profile === undefined ? {} : profiled(flags.profile);
  const service = await startProgram([MAIN, "start", "--config", file], find, how);
  const { host, port, adminPort } = service.ready;
  const adminUrl = `http://${host}:${adminPort}`;
  while (!(await fetch(`${adminUrl}/readyz`)).ok) await sleep(50);
  return { ...service, port, adminUrl };
}

async function post({ adminUrl }, path, text) {
  const startedMs = performance.now();
  const answer = await fetch(`${adminUrl}/api/v1/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN_SECRET}`, "content-type": "text/plain" },
    body: text,
  });
  const body = await answer.json();
  return { status: answer.status, body, ms: performance.now() - startedMs };
}

async function metric({ adminUrl }, line) {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return Number(
    text
      .split("\n")
      .find((each) => each.startsWith(`${line} `))
      ?.split(" ")[1] ?? 0,
  );
}

/** Connects all users, in portions whose requests the node can record. */
async function connectAll(service, clients) {
  const saved = 'tidewire_recorded_requests_total{outcome="saved"}';
  for (let from = 0; from < users; from += USERS_AT_ONCE) {
    const count = Math.min(USERS_AT_ONCE, users - from);
    await clients.call("open", { from, count });
    while ((await metric(service, saved)) < (from + count) * (KEPT + RECORDED)) await sleep(100);
    process.stderr.write(`${from + count} of ${users} users are connected\n`);
  }
}

/** Asks the same several times, each time with another text. @returns The times, and the processor time of each. */
async function timed(service, path, textOf, check) {
  const times = [];
  // The first ones are cold.
  for (let i = -2; i < 0; i++) check(await post(service, path, textOf(i)));
  const beforeMs = cpuMsWithEnded(service.pid);
  for (let i = 0; i < rounds; i++) {
    const answer = await post(service, path, textOf(i));
    check(answer);
    times.push(answer.ms);
  }
  return { times, cpuMs: (cpuMsWithEnded(service.pid) - beforeMs) / rounds };
}

function expectPlan({ status, body }) {
  if (status !== 200 || body.live.subscriptions !== users * KEPT + 1)
    throw new Error(`not a plan of all subscriptions: ${status} ${JSON.stringify(body).slice(0, 500)}`);
}

function expectMistake({ status, body }) {
  if (status !== 422 || body.problems.length !== 1)
    throw new Error(`not one mistake: ${JSON.stringify(body)}`);
}

function expectReplay({ status, body }) {
  const least = users * (KEPT + RECORDED);
  // The bystander's request may have been saved by then.
  const isAll = [least, least + 1].some((count) => body.replay?.requests === Math.min(REQUESTS_MAX, count));
  if (status !== 200 || !isAll)
    throw new Error(`not a replay of all requests: ${status} ${JSON.stringify(body).slice(0, 500)}`);
}

const editOne = (i) => rulesText({ note: `one-${i}` });
const editAll = (i) => rulesText({ everywhere: `all-${i}` });
const withMistake = (i) => rulesText({ note: `one-${i}` }).replace("%%user.sub", "%%user");

/** How late changes arrive while plans run one after another. */
async function observe(service, bystander) {
  const quiet = await bystander.call("pace", { perSecond: WRITES_PER_SECOND, forMs: observedMs });
  let isOver = false;
  const plans = [];
  const planning = (async () => {
    while (!isOver) {
      const answer = await post(service, "plan", editAll(`during-${plans.length}`));
      expectPlan(answer);
      plans.push(answer.ms);
    }
  })();
  if (flags.profile !== undefined) service.signal();
  const planned = await bystander.call("pace", { perSecond: WRITES_PER_SECOND, forMs: observedMs });
  if (flags.profile !== undefined) service.signal();
  isOver = true;
  await planning;
  return { quiet, planned, plans };
}

/** The aims, for the p50 of an answer and the p99 of a delivery, in milliseconds. Any other row has none. */
function aimOf(name) {
  if (name.startsWith("plan") || name.startsWith("replay")) return [0.5, 1_000];
  if (name.startsWith("check") || name.endsWith("by the page")) return [0.5, 200];
  return name.startsWith("delivery") ? [0.99, 250] : null;
}

function verdictsOf(rows) {
  return rows.flatMap(([name, { times }]) => {
    const aim = aimOf(name);
    if (aim === null) return [];
    const [at, wantedMs] = aim;
    const ms = quantile(times, at);
    const verdict = ms <= wantedMs ? "met" : "MISSED";
    return [`- ${verdict}: ${name}: p${at * 100} ${shown(ms)} ms, wanted at most ${wantedMs} ms`];
  });
}

const shown = (ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));

function tableOf(rows) {
  const lines = rows.map(
    ([name, { times, cpuMs }]) =>
      `| ${name} | ${[0.5, 0.99].map((at) => shown(quantile(times, at))).join(" | ")} | ${shown(Math.max(...times))} | ${cpuMs === undefined ? "" : shown(cpuMs)} |`,
  );
  return [
    "|  | p50 ms | p99 ms | max ms | processor ms |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...lines,
  ].join("\n");
}

async function measure(service, uri) {
  const clients = await Worker.fork("rules-clients.mjs", {
    port: service.port,
    kept: KEPT,
    recorded: RECORDED,
  });
  await connectAll(service, clients);
  const bystander = await Worker.fork("rules-bystander.mjs", { port: service.port, uri, database: DATABASE });
  const rows = [
    ["plan, one rule edited", await timed(service, "plan", editOne, expectPlan)],
    ["plan, a rule of each collection edited", await timed(service, "plan", editAll, expectPlan)],
    ["check by the node, a draft with a mistake", await timed(service, "plan", withMistake, expectMistake)],
    ["replay, one rule edited", await timed(service, "rules/replay", editOne, expectReplay)],
    ["replay, a rule of each collection edited", await timed(service, "rules/replay", editAll, expectReplay)],
  ];
  const { quiet, planned, plans } = await observe(service, bystander);
  rows.push(["delivery to a bystander, without plans", { times: quiet }]);
  rows.push([`delivery to a bystander, during ${plans.length} plans`, { times: planned }]);
  rows.push([
    `plan, a rule of each collection edited, during ${WRITES_PER_SECOND} writes/s`,
    { times: plans },
  ]);
  if (!isBrowserMissing) {
    const marks = await timeMarks({ adminUrl: service.adminUrl, secret: ADMIN_SECRET, rounds });
    rows.push(["key to mark in the editor, found by the page", { times: marks.page }]);
    rows.push(["key to mark in the editor, found by the node", { times: marks.node }]);
    rows.push(["key to effect beside the editor", { times: marks.effect }]);
  }
  const lost = await clients.call("lost");
  if (lost > 0) throw new Error(`${lost} connections were lost`);
  await Promise.all([clients.stop(), bystander.stop()]);
  return rows;
}

async function main() {
  if (flags.help) return process.stdout.write(`${HELP}\n`);
  const directory = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  const mongod = await startMongod(directory);
  try {
    const service = await startService(directory, mongod.uri);
    const rows = await measure(service, mongod.uri);
    await service.stop();
    const about = `${users} connections, ${users * KEPT} subscriptions, ${rounds} rounds, ${cpus().length} × ${cpus()[0].model.trim()}, Node ${process.version}.`;
    const result = [about, tableOf(rows), verdictsOf(rows).join("\n")].join("\n\n");
    process.stdout.write(`${result}\n`);
    if (flags.docs) await writeDocs("rules", result);
  } finally {
    await mongod.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
