// Measures how many messages per second one node brings to a local webhook, and what that costs in processor time.
// npm run bench:sinks [-- MESSAGES]. Needs /proc.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { startEmbeddedMongod } from "../dist/source/embedded-mongod.js";

const MESSAGES = Number(process.argv[2] ?? 20_000);
const STEADY_PER_SECOND = 1_000;
const STEADY_SECONDS = 10;
const TICK_MS = 10;
const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

/** The receiver is a process of its own, so that its work is not that of the writer. */
if (process.argv[2] === "receive") {
  let received = 0;
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      if (request.method === "POST") received++;
      response.end(String(received));
    });
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  await new Promise(() => {});
}

const linesOf = (child) => createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const directory = mkdtempSync(join(tmpdir(), "tidewire-bench-"));
const log = { info() {}, warn: console.error, error: console.error };
const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger: log });
const mongo = await new MongoClient(mongod.uri).connect();
const receiver = spawn(process.execPath, [fileURLToPath(import.meta.url), "receive"], {
  stdio: ["ignore", "pipe", "inherit"],
});
const { value: port } = await linesOf(receiver).next();
const url = `http://127.0.0.1:${port}/`;
const received = async () => Number(await (await fetch(url)).text());

const file = join(directory, "node.json");
const secret = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;
writeFileSync(
  file,
  JSON.stringify({
    mongodb: { uri: mongod.uri, database: "shop" },
    server: { port: 0, admin: { port: 0 } },
    auth: { anonymous: true },
    collections: { orders: { rules: [] } },
    sinks: { orders: { collection: "orders", to: { webhook: { url, secret, allowPrivate: true } } } },
    log: { level: "info" },
  }),
);
const node = spawn(process.execPath, [MAIN, "start", "--config", file], {
  stdio: ["ignore", "pipe", "inherit"],
});
for await (const line of createInterface({ input: node.stdout })) if (line.includes('"listening"')) break;
const sinks = mongo.db("tidewire").collection("sinks");
while ((await sinks.findOne({ _id: "orders" }))?.position == null) await sleep(50);

function processorMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

const orders = mongo.db("shop").collection("orders");
const pad = "x".repeat(300);
const insert = (count) =>
  orders.insertMany(
    Array.from({ length: count }, () => ({ status: "late", pad })),
    { ordered: false },
  );

/** Waits until so many messages have arrived. @returns How long that took, and the processor time of the node. */
async function measure(count, write) {
  const before = await received();
  const beforeMs = processorMs(node.pid);
  const startedMs = performance.now();
  await write();
  while ((await received()) < before + count) await sleep(20);
  const ms = performance.now() - startedMs;
  return { ms, processorMs: processorMs(node.pid) - beforeMs };
}

await measure(2_000, () => insert(2_000));
const burst = await measure(MESSAGES, () => insert(MESSAGES));
const steady = await measure(STEADY_PER_SECOND * STEADY_SECONDS, async () => {
  const startedMs = performance.now();
  for (let tick = 1; tick <= STEADY_SECONDS * 50; tick++) {
    await insert(STEADY_PER_SECOND / 50);
    await sleep(Math.max(0, tick * 20 - (performance.now() - startedMs)));
  }
});
const row = (what, count, { ms, processorMs: spentMs }) =>
  `| ${what} | ${Math.round((1_000 * count) / ms)}/s | ${((1_000 * spentMs) / count).toFixed(0)} µs | ${((100 * spentMs) / ms).toFixed(0)} % |`;
console.log("| load | delivered | processor time per message | share of a core |");
console.log("| --- | --- | --- | --- |");
console.log(row(`${MESSAGES} documents written at once`, MESSAGES, burst));
console.log(
  row(
    `${STEADY_PER_SECOND} documents per second for ${STEADY_SECONDS} s`,
    STEADY_PER_SECOND * STEADY_SECONDS,
    steady,
  ),
);
node.kill("SIGKILL");
receiver.kill("SIGKILL");
await mongo.close();
await mongod.stop();
rmSync(directory, { recursive: true, force: true });
process.exit();
