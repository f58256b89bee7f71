/**
 * Measures Tidewire against its peers and against the physical limits: `npm run bench -- --help`.
 * Everything runs in processes of its own: mongod, and for each contender a server, its clients and a writer.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Lane, packageOf } from "./lib/lane.mjs";
import { dist, MongoClient, ROOT } from "./lib/product.mjs";
import { intoPage, summarize, tableOf } from "./lib/report.mjs";
import { scenarios } from "./scenarios.mjs";

const HELP = `Usage: npm run bench -- [options]

  --only TEXT         scenarios whose name holds this text; several: --only a,b or --only a --only b
  --contenders A,B    these alone (tidewire, limit-ws, socket.io, …)
  --rounds N          interleaved rounds; default: 5
  --node PATH,PATH    runs each server also under these Node binaries, as lanes of their own
  --build DIR,DIR     runs Tidewire also as built in these directories, as lanes of their own
  --quick             tiny sizes, one round: shows that it runs, and measures nothing
  --fresh N           starts each server again for each round, and counts the burst after N that warm it up: for two builds
                      that differ little, because what one process has compiled and collected decides for all its rounds
  --profile DIR       saves a CPU profile of each server's last round; the figures are no good then
  --docs              writes the tables into docs/performance.md; with --only, the other tables stay
  --json FILE         where the results go as JSON
  --mongodb URI       a replica set to use instead of one started for the run
  --no-install        do without what is not installed, rather than install it (npm ci in bench/)

Scenarios: ${scenarios(false)
  .map(({ name }) => name)
  .join(", ")}.`;

const HERE = fileURLToPath(new URL(".", import.meta.url));

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [""] },
    contenders: { type: "string" },
    rounds: { type: "string" },
    node: { type: "string" },
    build: { type: "string" },
    quick: { type: "boolean", default: false },
    fresh: { type: "string" },
    profile: { type: "string" },
    docs: { type: "boolean", default: false },
    json: { type: "string" },
    mongodb: { type: "string" },
    "no-install": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const listOf = (text) => (text === undefined ? [] : text.split(","));

/** The servers of a lane: the lane itself, and the same under each other Node and of each other build. */
function variantsOf(lane) {
  const { name = lane.contender, contender, parts } = lane;
  const nodes = listOf(flags.node).map((node) => ({ label: nodeVersion(node), more: { node } }));
  // In the process of its subscribers, Tidewire is always the build of the benchmark.
  const builds = (contender === "tidewire" ? listOf(flags.build) : []).map((build) => ({
    label: basename(build),
    more: { build: resolve(build) },
  }));
  const others = [...nodes, ...builds].map(({ label, more }) => ({
    ...lane,
    name: `${name}, ${label}`,
    parts: { ...parts, ...more },
  }));
  return [lane, ...others];
}

const nodeVersion = (node) => `Node ${execFileSync(node, ["--version"], { encoding: "utf8" }).trim()}`;

const print = (text) => process.stdout.write(`${text}\n`);
const note = (text) => process.stderr.write(`${text}\n`);

const isInstalled = (name) => existsSync(join(HERE, "node_modules", name));

/** The scenarios that `--only` names. A mistyped name must not end as a run that measured less, or nothing. */
function chosenScenarios() {
  const all = scenarios(flags.quick);
  const isName = (text) => all.some(({ name }) => name.includes(text));
  // Names hold commas, too.
  const texts = flags.only.flatMap((text) =>
    isName(text) ? [text] : text.split(",").map((part) => part.trim()),
  );
  const unknown = texts.filter((text) => !isName(text));
  if (unknown.length === 0) return all.filter(({ name }) => texts.some((text) => name.includes(text)));
  const known = all.map(({ name }) => name).join("; ");
  note(`--only ${unknown.join(", ")}: no scenario has that in its name. Scenarios: ${known}`);
  process.exit(2);
}

/** Whether a lane is asked for and can be run; what cannot be is said once. */
function isWanted({ contender }, missing) {
  if (flags.contenders !== undefined && !flags.contenders.split(",").includes(contender)) return false;
  const needed = packageOf(contender);
  if (needed === undefined || isInstalled(needed)) return true;
  missing.add(`${contender}: left out, ${needed} is not installed (npm ci --prefix bench)`);
  return false;
}

async function startLane(lane, parts) {
  const started = await Lane.start(lane.name ?? lane.contender, lane.contender, { ...parts, ...lane.parts });
  await lane.open(started);
  return started;
}

async function runScenario(scenario, lanes, wanted, parts) {
  const rounds = Math.min(wanted, scenario.roundsMax ?? wanted);
  const roundsByLane = new Map(lanes.map((lane) => [lane.name ?? lane.contender, []]));
  const started = new Map();
  const isFresh = scenario.isFresh || flags.fresh !== undefined;
  const warming = scenario.isFresh ? 0 : Number(flags.fresh ?? 0);
  const stop = async (lane) => {
    await started.get(lane)?.stop();
    started.delete(lane);
  };
  try {
    // One round more than counts: in the first one everything is still cold.
    for (let round = isFresh ? 1 : 0; round <= rounds; round++) {
      // Another one is first in each round, so that none always follows the same.
      for (let at = 0; at < lanes.length; at++) {
        const lane = lanes[(at + round) % lanes.length];
        if (!started.has(lane)) started.set(lane, await startLane(lane, parts));
        for (let i = 0; i < warming; i++) await lane.round(started.get(lane));
        const measured = await lane.round(started.get(lane));
        if (round > 0) roundsByLane.get(lane.name ?? lane.contender).push(measured);
        if (isFresh) await stop(lane);
      }
      note(`${scenario.name}: round ${round} of ${rounds}`);
    }
  } finally {
    for (const lane of [...started.keys()]) await stop(lane);
  }
  return summarize(scenario, roundsByLane);
}

async function main() {
  if (flags.help) return print(HELP);
  const chosen = chosenScenarios();
  if (!flags["no-install"] && !isInstalled(".package-lock.json")) {
    note("installing what Tidewire is compared with");
    execFileSync("npm", ["ci", "--ignore-scripts"], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
  }
  const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 5));
  const directory = await mkdtemp(join(tmpdir(), "tidewire-bench-"));
  const database = `bench-${randomBytes(4).toString("hex")}`;
  const mongod =
    flags.mongodb === undefined ? await startMongod(directory) : useMongod(flags.mongodb, database);
  if (flags.profile !== undefined) await mkdir(flags.profile, { recursive: true });
  const parts = { uri: mongod.uri, database, mongodPid: mongod.pid, directory, profiles: flags.profile };
  const missing = new Set();
  const results = [];
  const startedMs = Date.now();
  try {
    for (const scenario of chosen) {
      const lanes = scenario.lanes.filter((lane) => isWanted(lane, missing)).flatMap(variantsOf);
      if (lanes.length === 0) continue;
      const result = await runScenario(scenario, lanes, rounds, parts);
      results.push(result);
      print(tableOf(result));
    }
  } finally {
    await mongod.stop();
    await rm(directory, { recursive: true, force: true });
  }
  for (const text of missing) print(`\n${text}`);
  const seconds = Math.round((Date.now() - startedMs) / 1_000);
  const machine = `${rounds} rounds in ${seconds} s, ${cpus().length} × ${cpus()[0].model.trim()}, Node ${process.version}.`;
  print(`\n${machine}`);
  if (flags.json !== undefined)
    await writeFile(flags.json, `${JSON.stringify({ rounds, seconds, machine, results }, null, 2)}\n`);
  if (flags.docs) {
    const page = fileURLToPath(new URL("docs/performance.md", ROOT));
    const names = scenarios(flags.quick).map(({ name }) => name);
    const command = chosen.length === names.length ? undefined : commandOf(chosen);
    await writeFile(page, intoPage(await readFile(page, "utf8"), results, { machine, names, command }));
  }
}

const commandOf = (chosen) =>
  [
    "npm run bench -- --docs",
    ...chosen.map(({ name }) => `--only ${name.includes(" ") ? JSON.stringify(name) : name}`),
  ].join(" ");

async function startMongod(directory) {
  const { startEmbeddedMongod } = await dist("source/embedded-mongod.js");
  const log = (fields, text) => note(`${text} ${JSON.stringify(fields)}`);
  const logger = { info: () => {}, warn: log, error: log };
  return startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger });
}

/** A MongoDB that runs already. Its data is unchanged afterwards. */
function useMongod(uri, database) {
  return {
    uri,
    async stop() {
      const client = await new MongoClient(uri).connect();
      const { databases } = await client.db("admin").admin().listDatabases({ nameOnly: true });
      for (const { name } of databases) if (name.startsWith(database)) await client.db(name).dropDatabase();
      await client.close();
    },
  };
}

await main();
