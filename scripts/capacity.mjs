/**
 * Carries measured costs to fleets of 1 to 500 nodes, by arithmetic: the tables and the picture of docs/capacity.md, which explains the
 * formulas.
 *
 *   node scripts/capacity.mjs [--connections 20000] [--writes 0.002] [--receivers 10] [--bytes 1000]
 *   node scripts/capacity.mjs --picture > capacity.svg
 *   node scripts/capacity.mjs --docs
 *
 * `--connections` are those of each node, `--writes` those of a second for each connection, `--receivers` the connections that receive a
 * change, `--bytes` the size of a change event with its images. `--docs` writes the tables and docs/capacity.svg. Put the figures of
 * your own machine into COSTS.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/**
 * Measured on two virtual cores under Node 20, without other work. CPU times are in microseconds. A pair is for a write among many, and for a write
 * alone: the difference is paid once for each batch.
 */
const COSTS = {
  mongodWrite: { among: 97, alone: 1_830 },
  mongodStream: { among: 25, alone: 301 },
  redisWrite: { among: 1.3, alone: 145 },
  redisRead: { among: 0.43, alone: 25.8 },
  /** The node that fills the tail, in addition to what every node does. */
  lead: { among: 16, alone: 1_230 },
  read: { among: 17.4, alone: 272 },
  deliver: 11,
  /** Each idle connection, each second. */
  idle: 4.9,
  resume: 254,
  connectionKiB: 9.1,
};

/** The limits of one mongod, one Redis and one node. */
const LIMITS = {
  mongodCores: 8,
  /** Redis runs commands in one thread. */
  redisCores: 1,
  /** 10 Gbit/s. */
  redisBytes: 1.25e9,
  /** A node is one process. The rest of its core is for snapshots and for clients that come back. */
  nodeCores: 0.6,
  nodeMiB: 4_096,
  /** How long a client may wait for its connection after a node was lost, in seconds. */
  returnSeconds: 10,
};

const SIZES = [1, 3, 10, 50, 500];
/** Answers of a change stream and of Redis in a second. With more writes, the answers become larger instead. An assumption. */
const BATCHES_MAX = 200;
/** A node without clients, and its history three times. */
const NODE_MIB = 120 + 3 * 64;

const { values: flags } = parseArgs({
  options: {
    connections: { type: "string", default: "20000" },
    writes: { type: "string", default: "0.002" },
    receivers: { type: "string", default: "10" },
    bytes: { type: "string", default: "1000" },
    picture: { type: "boolean", default: false },
    docs: { type: "boolean", default: false },
  },
});
const LOAD = {
  connections: Number(flags.connections),
  writes: Number(flags.writes),
  receivers: Number(flags.receivers),
  bytes: Number(flags.bytes),
};

/** The needs of a fleet of so many nodes. */
function fleetOf(nodes) {
  const { connections, receivers, bytes } = LOAD;
  const writes = nodes * connections * LOAD.writes;
  const batches = Math.min(writes, BATCHES_MAX);
  const cores = ({ among, alone }) => (writes * among + batches * (alone - among)) / 1e6;
  const deliveries = (writes * receivers) / nodes;
  const node = cores(COSTS.read) + (deliveries * COSTS.deliver + connections * COSTS.idle) / 1e6;
  return {
    nodes,
    connections: nodes * connections,
    writes,
    deliveries,
    streamsCores: cores(COSTS.mongodWrite) + (nodes - 1) * cores(COSTS.mongodStream),
    tailCores: cores(COSTS.mongodWrite),
    redisCores: cores(COSTS.redisWrite) + nodes * cores(COSTS.redisRead),
    redisBytes: writes * nodes * bytes,
    nodeCores: node,
    leaderCores: node + cores(COSTS.lead),
    nodeMiB: NODE_MIB + (connections * COSTS.connectionKiB) / 1_024,
    /** One node is lost, and its clients go to the others; with one node, they come back to it. */
    returnSeconds: ((connections / Math.max(1, nodes - 1)) * COSTS.resume) / 1e6,
    /** All nodes are lost at once. */
    restartSeconds: (connections * COSTS.resume) / 1e6,
  };
}

const row = (cells) => `| ${cells.join(" | ")} |`;
const thousands = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
const shown = (value) =>
  value >= 100 ? thousands(value) : value >= 10 ? value.toFixed(0) : value.toPrecision(2);

/** The costs, by the command that measures them. */
const SOURCES = [
  ["mongod's write, with one reader", "mongodWrite", "`npm run bench:fleet`: 1 node with a stream"],
  [
    "a further stream",
    "mongodStream",
    "`npm run bench:fleet`: the difference to 10 nodes with a stream each, for each of 9",
  ],
  ["Redis' write", "redisWrite", "`npm run bench:fleet`: 1 node with the tail, less a read"],
  [
    "Redis' read",
    "redisRead",
    "`npm run bench:fleet`: the difference to 24 nodes with the tail, for each of 23",
  ],
  ["lead", "lead", "`npm run bench:fleet`: the first of 10 nodes with the tail, less one of the others"],
  [
    "read",
    "read",
    "`npm run bench -- --only growth` among many; `npm run bench:fleet`, one of 10 nodes with the tail, alone",
  ],
  ["delivery", "deliver", '`npm run bench -- --only "fan-out, paced"`'],
  ["an idle connection, each second", "idle", "`npm run bench:idle`"],
  ["resumption", "resume", "`npm run bench -- --only resumption`"],
];

function costsTable() {
  const lines = SOURCES.map(([name, key, source]) => {
    const cost = COSTS[key];
    const cells = typeof cost === "number" ? [shown(cost), ""] : [shown(cost.among), shown(cost.alone)];
    return row([name, ...cells, source]);
  });
  const memory = row([
    "memory of a connection",
    `${shown(COSTS.connectionKiB)} KiB`,
    "",
    "`npm run bench:idle`",
  ]);
  return [
    row(["cost", "among many, µs", "alone, µs", "measured by"]),
    row(["---", "---:", "---:", "---"]),
    ...lines,
    memory,
  ].join("\n");
}

/** Each series is a share of a limit. */
const SERIES = [
  { key: "streamsCores", limit: LIMITS.mongodCores, name: "mongod, a stream for each node", color: "a" },
  { key: "tailCores", limit: LIMITS.mongodCores, name: "mongod, with the tail", color: "a", isDashed: true },
  { key: "redisCores", limit: LIMITS.redisCores, name: "Redis, its core", color: "b" },
  { key: "redisBytes", limit: LIMITS.redisBytes, name: "Redis, its network", color: "b", isDashed: true },
  { key: "leaderCores", limit: LIMITS.nodeCores, name: "the leader, its core", color: "c" },
  { key: "nodeCores", limit: LIMITS.nodeCores, name: "each node, its core", color: "c", isDashed: true },
  { key: "nodeMiB", limit: LIMITS.nodeMiB, name: "each node, its memory", color: "d" },
  {
    key: "restartSeconds",
    limit: LIMITS.returnSeconds,
    name: "everybody back after a restart",
    color: "d",
    isDashed: true,
  },
];

function tableOf(fleets) {
  const rows = [
    ["connections", ({ connections }) => thousands(connections)],
    ["writes a second", ({ writes }) => thousands(writes)],
    ["deliveries a second, each node", ({ deliveries }) => thousands(deliveries)],
    ["mongod, a stream for each node: cores", ({ streamsCores }) => shown(streamsCores)],
    ["mongod, with the tail: cores", ({ tailCores }) => shown(tailCores)],
    ["Redis: cores", ({ redisCores }) => shown(redisCores)],
    ["Redis: MB a second to the nodes", ({ redisBytes }) => shown(redisBytes / 1e6)],
    ["each node: cores", ({ nodeCores }) => shown(nodeCores)],
    ["the leader: cores", ({ leaderCores }) => shown(leaderCores)],
    ["each node: MiB", ({ nodeMiB }) => thousands(nodeMiB)],
    [
      "one node lost, its clients back: seconds of each other node's core",
      ({ returnSeconds }) => shown(returnSeconds),
    ],
    [
      "all nodes lost, everybody back: seconds of each node's core",
      ({ restartSeconds }) => shown(restartSeconds),
    ],
  ];
  const head = ["nodes", ...SIZES.map(String)];
  const lines = rows.map(([name, of]) => row([name, ...fleets.map(of)]));
  return [row(head), row(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...lines].join("\n");
}

/** Limits that only one of the two ways to read MongoDB has. */
const OF_STREAMS = new Set(["streamsCores"]);
const OF_TAIL = new Set(["tailCores", "redisCores", "redisBytes", "leaderCores"]);

/** The limits that are nearest, by the two ways to read MongoDB. */
function firstLimitsOf(fleets) {
  const nearest = (fleet, others) => {
    const shares = SERIES.filter(({ key }) => !others.has(key)).map(({ key, limit, name }) => ({
      name,
      share: fleet[key] / limit,
    }));
    const [first, second] = shares.sort((x, y) => y.share - x.share);
    return [first, second].map(({ name, share }) => `${name}: ${shown(share * 100)} %`).join("; ");
  };
  const lines = fleets.map((fleet) =>
    row([String(fleet.nodes), nearest(fleet, OF_TAIL), nearest(fleet, OF_STREAMS)]),
  );
  const head = ["nodes", "a stream for each node", "with the tail"];
  return [row(head), row(["---:", "---", "---"]), ...lines].join("\n");
}

const BOX = { left: 64, top: 36, right: 560, bottom: 372, width: 860, height: 424 };
/** Shares of a limit, as powers of ten. */
const Y = { least: -3, most: 2 };

/** Keeps labels apart: each is at least a line below the one before. */
function spread(labels, gap) {
  const sorted = [...labels].sort((x, y) => x.y - y.y);
  for (const [i, label] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before !== undefined) label.y = Math.max(label.y, before.y + gap);
  }
  return sorted;
}

const STYLE = `
    text { fill: #111827 }
    .small { font-size: 12px; fill: #4b5563 }
    .grid { stroke: #d1d5db; stroke-width: 1 }
    .limit { stroke: #111827; stroke-width: 1.5 }
    .line { fill: none; stroke-width: 2 }
    .dashed { stroke-dasharray: 6 4 }
    .a { stroke: #b45309 } .b { stroke: #1d4ed8 } .c { stroke: #0f766e } .d { stroke: #9d174d }
    .leader { fill: none; stroke: #9ca3af; stroke-width: 1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f3f4f6 }
      .small { fill: #d1d5db }
      .grid { stroke: #374151 }
      .limit { stroke: #f3f4f6 }
      .a { stroke: #fbbf24 } .b { stroke: #93c5fd } .c { stroke: #5eead4 } .d { stroke: #f9a8d4 }
    }
  `;

/** Each limit as a line over the size of the fleet, both axes logarithmic. */
function pictureOf(fleets) {
  const { left, top, right, bottom, width, height } = BOX;
  const last = Math.log(SIZES.at(-1));
  const x = (nodes) => Math.round(left + (Math.log(nodes) / last) * (right - left));
  const y = (share) => {
    const power = Math.min(Y.most, Math.max(Y.least, Math.log10(share)));
    return Math.round(bottom - ((power - Y.least) / (Y.most - Y.least)) * (bottom - top));
  };
  const powers = Array.from({ length: Y.most - Y.least + 1 }, (_, i) => Y.least + i);
  const grid = powers.map((power) => {
    const at = y(10 ** power);
    const text = power === 0 ? "the limit" : power < 0 ? `1/${thousands(10 ** -power)}` : `${10 ** power} ×`;
    const line = `<line class="${power === 0 ? "limit" : "grid"}" x1="${left}" x2="${right}" y1="${at}" y2="${at}" />`;
    return `${line}<text class="small" x="${left - 6}" y="${at + 4}" text-anchor="end">${text}</text>`;
  });
  const ticks = fleets.map(({ nodes, connections }) => {
    const lines = [`${nodes} ${nodes === 1 ? "node" : "nodes"}`, thousands(connections)];
    return lines.map(
      (text, i) =>
        `<text class="small" x="${x(nodes)}" y="${bottom + 20 + 16 * i}" text-anchor="middle">${text}</text>`,
    );
  });
  const curves = SERIES.map(({ key, limit, color, isDashed }) => {
    const points = fleets.map((fleet) => `${x(fleet.nodes)} ${y(fleet[key] / limit)}`).join(" L");
    return `<path class="line ${color}${isDashed ? " dashed" : ""}" d="M${points}" />`;
  });
  const ends = SERIES.map(({ key, limit, name, color, isDashed }) => {
    const at = y(fleets.at(-1)[key] / limit);
    return { name, color, isDashed, from: at, y: at };
  });
  const labels = spread(ends, 18).map(({ name, color, isDashed, from, y: at }) => {
    const sample = `<line class="line ${color}${isDashed ? " dashed" : ""}" x1="${right + 24}" x2="${right + 48}" y1="${at}" y2="${at}" />`;
    const link = `<path class="leader" d="M${right + 4} ${from} L${right + 20} ${at}" />`;
    return `${link}${sample}<text class="small" x="${right + 54}" y="${at + 4}">${name}</text>`;
  });
  const title = `<text class="small" x="${left}" y="${top - 12}">share of each limit, for fleets of so many nodes with so many connections</text>`;
  const label = "How much of each limit a fleet of 1 to 500 nodes uses: the values are in the table";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="${label}">`,
    `  <style>${STYLE}</style>`,
    ...[title, ...grid, ...ticks.flat(), ...curves, ...labels].map((line) => `  ${line}`),
    "</svg>",
    "",
  ].join("\n");
}

/** Puts a table between its two marks of the page. */
function into(page, mark, text) {
  const [begin, end] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`];
  const from = page.indexOf(begin) + begin.length;
  return `${page.slice(0, from)}\n\n${text}\n\n${page.slice(page.indexOf(end))}`;
}

const fleets = SIZES.map(fleetOf);
const tables = { sizes: tableOf(fleets), limits: firstLimitsOf(fleets), costs: costsTable() };
process.stdout.write(flags.picture ? pictureOf(fleets) : `${Object.values(tables).join("\n\n")}\n`);
if (flags.docs) {
  const inDocs = (name) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
  const page = readFileSync(inDocs("capacity.md"), "utf8");
  const withTables = Object.entries(tables).reduce((text, [mark, table]) => into(text, mark, table), page);
  writeFileSync(inDocs("capacity.md"), withTables);
  writeFileSync(inDocs("capacity.svg"), pictureOf(fleets));
}
