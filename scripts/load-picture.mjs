/**
 * Runs `tidewire load` against a service and a MongoDB that it starts, and writes its picture and its figures.
 *   npm run build && node scripts/load-picture.mjs [--connections 2000] [--seconds 60] [directory]   (default: docs)
 * The default writes docs/load-testing.svg. `--profile FOLDER` adds a processor profile of the load driver.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const root = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  options: {
    connections: { type: "string", default: "2000" },
    ramp: { type: "string", default: "200" },
    seconds: { type: "string", default: "60" },
    rate: { type: "string", default: "100" },
    readers: { type: "string", default: "20" },
    workers: { type: "string", default: "1" },
    profile: { type: "string" },
  },
  allowPositionals: true,
});
const outdir = resolve(positionals[0] ?? join(root, "docs"));
const directory = await mkdtemp(join(tmpdir(), "tidewire-load-picture-"));
const secret = randomBytes(32).toString("hex");
const cli = join(root, "dist/cli/main.js");

const config = (uri) => ({
  mongodb: { uri, database: "shop", stateDatabase: "shop-state" },
  server: { port: 0, admin: { port: 0 } },
  auth: { jwt: { algorithms: ["HS256"], secret } },
  collections: { orders: { rules: [{ name: "group", filter: { group: "%%user.group" } }] } },
  limits: {
    connectionsPerAddress: 100_000,
    connectRatePerAddress: 10_000,
    connectBurstPerAddress: 10_000,
    connectRate: 10_000,
  },
});

/** As many users share each document as `--readers` says. */
function scenario() {
  const groups = Math.max(1, Math.floor(Number(values.connections) / Number(values.readers)));
  return {
    claims: { sub: "user-{{i}}", group: `{{i % ${groups}}}` },
    subscriptions: [{ collection: "orders", filter: { status: "open" } }],
    documents: groups,
    document: { group: "{{d}}", status: "open", text: "x".repeat(100) },
  };
}

const mongod = await startEmbeddedMongod({
  dataDir: join(directory, "data"),
  logger: pino({ level: "warn" }),
});
const configFile = join(directory, "tidewire.json");
await writeFile(configFile, JSON.stringify(config(mongod.uri)));
const service = spawn(process.execPath, [cli, "start", "--config", configFile], {
  cwd: directory,
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const port = await new Promise((found, failed) => {
    service.once("exit", (code) => failed(new Error(`the service ended with ${code}`)));
    createInterface({ input: service.stdout }).on("line", (line) => {
      const { msg, port: at } = JSON.parse(line);
      if (msg === "listening") found(at);
    });
  });
  const scenarioFile = join(directory, "scenario.json");
  await writeFile(scenarioFile, JSON.stringify(scenario()));
  const profiling = values.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${values.profile}`];
  const load = spawn(
    process.execPath,
    [
      ...profiling,
      cli,
      "load",
      ...["--url", `ws://127.0.0.1:${port}`, "--scenario", scenarioFile],
      ...["--mongodb", mongod.uri, "--database", "shop", "--rate", values.rate],
      ...["--connections", values.connections, "--ramp", values.ramp, "--duration", `${values.seconds}s`],
      ...["--workers", values.workers],
      ...["--svg", join(outdir, "load-testing.svg"), "--json", join(directory, "load.json")],
    ],
    { stdio: "inherit", env: { ...process.env, TIDEWIRE_JWT_SECRET: secret } },
  );
  const { pid } = load;
  let mostBytes = 0;
  const watching = setInterval(() => {
    // Only Linux has this file.
    const [, kib] =
      /VmHWM:\s+(\d+)/.exec(
        existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "",
      ) ?? [];
    mostBytes = Math.max(mostBytes, Number(kib ?? 0) * 1_024);
  }, 1_000);
  process.exitCode = await new Promise((ended) => load.once("exit", ended));
  clearInterval(watching);
  console.log(`the load driver used at most ${Math.round(mostBytes / 1_048_576)} MiB`);
} finally {
  service.kill("SIGTERM");
  await new Promise((ended) => service.once("exit", ended));
  await mongod.stop();
  await rm(directory, { recursive: true, force: true });
}
