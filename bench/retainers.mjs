/**
 * Lists the objects that keep the memory of an idle connection, or of a counter: `npm run bench:retainers -- --help`.
 * It takes two heap snapshots of a server process, and divides what was added between them by the number of clients.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { growthOf, shapesOf } from "./lib/heap-snapshot.mjs";
import { Lane } from "./lib/lane.mjs";
import { dist } from "./lib/product.mjs";

const HELP = `Usage: npm run bench:retainers -- [options]

  --of KIND          connections (default), counters, documents: live queries of documents, as for counters
  --contender NAME   of connections: tidewire (default), limit-ws, limit-route
  --count N          how many are added between the snapshots; default: 5000 connections, 10000 live queries
  --rows N           how many shapes are listed; default: 10
  --filters N        of connections: how many different filters they have; default: 1
  --compressed       of connections: they may receive compressed messages`;

const { values: flags } = parseArgs({
  options: {
    of: { type: "string", default: "connections" },
    contender: { type: "string", default: "tidewire" },
    count: { type: "string" },
    rows: { type: "string", default: "10" },
    filters: { type: "string", default: "1" },
    compressed: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/** Added before the first snapshot, so that everything is loaded and every table exists. */
const WARM = 1_000;

/** The offer of a browser. */
const compressed = flags.compressed ? { extensions: "permessage-deflate; client_max_window_bits" } : {};

const KINDS = {
  connections: { contender: flags.contender, count: 5_000, rooms: Number(flags.filters), rest: compressed },
  counters: { contender: "tidewire-in-process", count: 10_000, rooms: 1e9, rest: { aggregate: {} } },
  documents: { contender: "tidewire-in-process", count: 10_000, rooms: 1e9, rest: {} },
};

/** Snapshots are not kept for further clients: that memory has a limit of its own, whatever the number of live queries. */
const NO_SNAPSHOTS = { snapshotCacheBytes: 0, lingerMs: 0 };

async function measure({ contender, count, rooms, rest }, directory) {
  const { startEmbeddedMongod } = await dist("source/embedded-mongod.js");
  const log = (fields, text) => process.stderr.write(`${text} ${JSON.stringify(fields)}\n`);
  const logger = { info: () => {}, warn: log, error: log };
  const mongod = await startEmbeddedMongod({ dataDir: join(directory, "mongodb"), logger });
  try {
    const parts = {
      uri: mongod.uri,
      database: "retainers",
      directory,
      heap: directory,
      listener: flags.compressed ? { compression: "shared" } : {},
      watches: { limits: NO_SNAPSHOTS },
    };
    const lane = await Lane.start(contender, contender, parts);
    const filters = Array.from({ length: WARM + count }, (_, i) => ({ room: i % rooms }));
    await lane.open(filters.slice(0, WARM), rest);
    const before = await lane.heapSnapshot();
    await lane.open(filters.slice(WARM), rest);
    const after = await lane.heapSnapshot();
    await lane.stop();
    return { before, after };
  } finally {
    await mongod.stop();
  }
}

function tableOf(rows, shown) {
  const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
  const line = (shape, count, bytes) => `| ${shape} | ${count} | ${Math.round(bytes)} |`;
  const lines = rows.slice(0, shown).map(({ shape, count, bytes }) => line(shape, count.toFixed(1), bytes));
  const rest = rows.slice(shown).reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    "| shape | of each | bytes |",
    "| --- | ---: | ---: |",
    ...lines,
    line("everything else", "", rest),
    line("the heap of one", "", total),
  ].join("\n");
}

async function main() {
  const kind = KINDS[flags.of];
  if (flags.help || kind === undefined) return process.stdout.write(`${HELP}\n`);
  const count = Number(flags.count ?? kind.count);
  const directory = await mkdtemp(join(tmpdir(), "tidewire-retainers-"));
  try {
    const { before, after } = await measure({ ...kind, count }, directory);
    const rows = growthOf(shapesOf(before), shapesOf(after), count);
    process.stdout.write(`${tableOf(rows, Number(flags.rows))}\n`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
