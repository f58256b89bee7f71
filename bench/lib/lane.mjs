/** One contender in one scenario: the server under test, its clients, and who writes for it. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  COLLECTABLE,
  cpuMs,
  cpuMsWithEnded,
  heapWritten,
  profiled,
  rssKiB,
  startProgram,
  Worker,
} from "./processes.mjs";
import { ROOT } from "./product.mjs";
import { median, quantile } from "./statistics.mjs";
import { SECRET } from "./tokens.mjs";

const DELIVERED_WITHIN_MS = 60_000;
/** Whatever a server does after the last delivery is its cost too. */
const SETTLE_MS = 50;
/** A server takes so long to write its profile. */
const PROFILE_MS = 3_000;
const HEAP_NAME = "heap";
/** Tidewire drops once a second what it no longer keeps. */
const SWEEP_MS = 3_000;

const MAIN = fileURLToPath(new URL("dist/cli/main.js", ROOT));

/** As many of everything as the benchmark needs; all else is the default. */
const LIMITS = {
  connections: 100_000,
  connectionsPerAddress: 100_000,
  connectionsPerUser: 100_000,
  userRequestsPerSecond: 1_000_000,
  userRequestBurst: 1_000_000,
  subscriptionsPerUser: 1_000_000,
  liveQueriesPerUser: 1_000_000,
  userRequestBytes: "1GiB",
  windowBytes: "8GiB",
  userWindowBytes: "8GiB",
  userOutboxBytes: "8GiB",
  filterWorkPerUser: 1_000_000_000,
  workPerUser: "1s",
  connectRate: 100_000,
  connectRatePerAddress: 100_000,
  connectBurstPerAddress: 100_000,
};

const CONTENDERS = {
  "limit-ws": { file: "servers/limit-ws.mjs", dialect: "plain", drive: "broadcast" },
  "limit-stream": { file: "servers/limit-stream.mjs" },
  "limit-stream-raw": { file: "servers/limit-stream.mjs", options: { isRaw: true } },
  "limit-group": { file: "servers/limit-group.mjs" },
  "limit-route": { file: "servers/limit-route.mjs", dialect: "plain" },
  "diy-watch": { file: "servers/diy-watch.mjs", dialect: "plain" },
  "diy-single": { file: "servers/diy-single.mjs", dialect: "plain" },
  "socket.io": { file: "servers/socket-io.mjs", dialect: "socketIo", needs: "socket.io" },
  parse: { file: "servers/parse.mjs", dialect: "parse", needs: "parse-server" },
  tidewire: { dialect: "tidewire" },
  "tidewire-in-process": { file: "servers/tidewire-in-process.mjs" },
};

/** The packages that a contender needs, if any. */
export const packageOf = (contender) => CONTENDERS[contender].needs;

let lanes = 0;

export class Lane {
  name;
  /** So many rooms, live queries or users are followed here. */
  of;
  #server;
  #clients;
  #writer;
  #drive;
  /** A bare stream beside the contender, which notes when each change was available. */
  #bare;
  #mongodPid;
  #isProfiled;
  /** The directory of heap snapshots, and how many were written. */
  #heap;
  #heaps = 0;

  /**
   * @param contender A key of `CONTENDERS`.
   * @param parts `uri`, `database` and `mongodPid`; `directory`, for a configuration; `rules` of Tidewire; `collectable`: its memory
   *   is measured; `heap`: a directory for heap snapshots; `node`: the Node that runs the server; `build`: the directory of
   *   another build of Tidewire; `listener`: further options of Tidewire's section `server`; `isTimed`: against a bare stream; `profiles`: a directory for CPU profiles; `writer`: how it is
   *   written; `mongodb`: further options of Tidewire's section of that name.
   */
  static async start(name, contender, parts) {
    const lane = new Lane();
    const { file, dialect, drive, options } = CONTENDERS[contender];
    // New each time, so that earlier writes concern no client.
    const collection = `${name.replaceAll(/\W/g, "-")}-${++lanes}`;
    const where = { uri: parts.uri, database: parts.database, collection, ...options, ...parts.watches };
    const how = howToStart(parts, name);
    lane.name = name;
    lane.#heap = parts.heap;
    lane.#isProfiled = parts.profiles !== undefined;
    lane.#drive = drive ?? "write";
    lane.#mongodPid = parts.mongodPid;
    lane.#server =
      file === undefined ? await startTidewire(parts, collection, how) : await Worker.fork(file, where, how);
    const { port, url } = lane.#server.ready;
    lane.#clients =
      dialect === undefined ? lane.#server : await Worker.fork("clients.mjs", { port, dialect });
    if (lane.#drive === "write")
      lane.#writer = await Worker.fork("writer.mjs", { ...where, ...parts.writer, parseUrl: url });
    if (parts.isTimed) {
      const bare = CONTENDERS["limit-stream-raw"];
      lane.#bare = await Worker.fork(bare.file, { ...where, ...bare.options, isTimed: true });
    }
    return lane;
  }

  get writes() {
    return this.#drive === "write";
  }

  async open(filters, rest = {}) {
    await this.#clients.call("open", { filters, ...rest });
    this.of = (this.of ?? 0) + filters.length;
  }

  /** Bytes that the clients have read so far. */
  readBytes() {
    return this.#clients.call("readBytes");
  }

  /** Writes documents that nobody waits for. */
  async fill({ kind, count }) {
    await this.#writer.call("prepare", { kind, count, of: 1, size: count });
    await this.#writer.call("burst", { size: count });
  }

  /** Everybody of `filters` subscribes with a snapshot, and reads it to its end. */
  snapshots(filters, rest) {
    return this.#measure(async () => {
      await this.#clients.call("arm", { deliveries: filters.length });
      await this.open(filters, { ...rest, snapshot: true });
      return { deliveries: await this.#arrived(filters.length) };
    });
  }

  /**
   * Writes `count` documents in bursts of `size`, each when the one before has arrived.
   * @returns Deliveries, changes, and the CPU time of the server, in milliseconds.
   */
  async burst({ kind, count, size, of = this.of }) {
    const bursts = this.writes
      ? await this.#writer.call("prepare", { kind, count, of, size })
      : Array.from({ length: Math.ceil(count / size) }, () => size * of);
    return this.#measure(async () => {
      let deliveries = 0;
      for (const expected of bursts) {
        await this.#clients.call("arm", { deliveries: expected });
        await this.#go({ size }, { count: size });
        deliveries += await this.#arrived(expected);
      }
      return { deliveries, changes: count };
    });
  }

  /** As `open`, measured. @returns The CPU time of the server, in milliseconds, and how long it took. */
  connect(filters, rest = {}) {
    return this.#measure(async () => {
      await this.open(filters, rest);
      return {};
    });
  }

  /**
   * Writes `count` documents one by one.
   * @param receivers How many clients follow each live query.
   * @returns As `burst`, and the latencies.
   */
  async pace({ kind, count, perSecond, of = this.of, receivers = 1 }) {
    const [matches] = this.writes
      ? await this.#writer.call("prepare", { kind, count, of, size: count })
      : [count * of];
    const deliveries = matches * receivers;
    await this.#bare?.call("arm", { deliveries: count });
    const measured = await this.#measure(async () => {
      await this.#clients.call("arm", { deliveries });
      await this.#go({ perSecond }, { count, perSecond });
      return { deliveries: await this.#arrived(deliveries), changes: count };
    });
    return { ...measured, ...(await this.#latencies()) };
  }

  /** Everybody goes, `changes` are missed, everybody comes back. */
  async resume({ kind, changes }) {
    const clients = this.of;
    await this.#clients.call("drop");
    if (this.writes) {
      await this.#writer.call("prepare", { kind, count: changes, of: 1, size: changes });
      await this.#writer.call("burst", { size: changes });
    } else await this.#server.call("prepareResume", { changes });
    await pause(500);
    const expected = this.writes ? clients * changes : clients;
    return this.#measure(async () => {
      await this.#clients.call("arm", { deliveries: expected });
      const notResumed = await this.#clients.call("reopen");
      if (this.writes && notResumed > 0) throw new Error(`${notResumed} clients were not resumed`);
      return { deliveries: await this.#arrived(expected), changes };
    });
  }

  /** Of the server, with garbage collected. */
  async memoryKiB() {
    this.#server.signal();
    await pause(1_000);
    return rssKiB(this.#server.pid);
  }

  /** Writes the heap of the server. @returns The file. */
  async heapSnapshot() {
    await pause(SWEEP_MS);
    const file = join(this.#heap, `${HEAP_NAME}-${++this.#heaps}.heapsnapshot`);
    this.#server.signal();
    while (!existsSync(file)) await pause(100);
    return file;
  }

  async stop() {
    const processes = [this.#writer, this.#bare, this.#clients, this.#server];
    await Promise.all(processes.map((process) => process?.stop()));
  }

  #go(write, broadcast) {
    if (!this.writes) return this.#server.call("broadcast", broadcast);
    return this.#writer.call(write.perSecond === undefined ? "burst" : "pace", write);
  }

  async #arrived(expected) {
    const { received, lost } = await this.#clients.call("done", { withinMs: DELIVERED_WITHIN_MS });
    if (received !== expected || lost > 0) {
      throw new Error(
        `${this.name}: ${received} of ${expected} deliveries came, ${lost} connections were lost`,
      );
    }
    return received;
  }

  async #measure(work) {
    const before = { server: cpuMs(this.#server.pid), mongod: this.#mongodCpuMs() };
    const startedMs = performance.now();
    if (this.#isProfiled) this.#server.signal();
    const done = await work();
    const wallMs = performance.now() - startedMs;
    await pause(SETTLE_MS);
    const after = { server: cpuMs(this.#server.pid), mongod: this.#mongodCpuMs() };
    if (this.#isProfiled) {
      this.#server.signal();
      // A server that is stopped at once would not have written it.
      await pause(PROFILE_MS);
    }
    return {
      ...done,
      cpuMs: after.server - before.server,
      mongodCpuMs: after.mongod - before.mongod,
      wallMs,
    };
  }

  #mongodCpuMs() {
    return this.#mongodPid === undefined ? Number.NaN : cpuMsWithEnded(this.#mongodPid);
  }

  /**
   * Quantiles in milliseconds: from the acknowledgement of each write to each receipt that was noted, and `lag` from
   * when the bare stream had the change.
   */
  async #latencies() {
    if (!this.writes) return {};
    const seen = pairs(await this.#clients.call("seen"));
    const acknowledged = new Map(pairs(await this.#writer.call("acknowledged")));
    const latencies = seen.map(([n, at]) => at - acknowledged.get(n));
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((part) => quantile(latencies, part));
    if (this.#bare === undefined) return { p50, p95, p99 };
    await this.#bare.call("done");
    const known = new Map(pairs(await this.#bare.call("seen")));
    const lag = median(seen.map(([n, at]) => at - known.get(n)));
    return { p50, p95, p99, lag };
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function pairs(flat) {
  const found = [];
  for (let i = 0; i < flat.length; i += 2) found.push([flat[i], flat[i + 1]]);
  return found;
}

/** The service as users run it, with all its checks and rules. */
async function startTidewire(parts, collection, how) {
  const { uri, database, directory, rules, mongodb, listener, build } = parts;
  const file = join(directory, `${collection}.json`);
  const configuration = {
    mongodb: { uri, database, stateDatabase: `${database}-state-${lanes}`, ...mongodb },
    server: { port: 0, admin: { port: 0 }, ...listener },
    auth: { anonymous: true, jwt: { algorithms: ["HS256"], secret: SECRET } },
    collections: { docs: { collection, rules: rules ?? [{ name: "all", anonymous: true }] } },
    limits: LIMITS,
    log: { level: "info" },
  };
  await writeFile(file, JSON.stringify(configuration));
  const find = (line) => (line.includes('"listening"') ? JSON.parse(line) : undefined);
  const main = build === undefined ? MAIN : join(build, "dist/cli/main.js");
  const service = await startProgram([main, "start", "--config", file], find, how);
  while (!(await isReady(service.ready))) await pause(20);
  return service;
}

/** Listening is not all: the change stream has to have found its start. */
async function isReady({ host, adminPort }) {
  const response = await fetch(`http://${host}:${adminPort}/readyz`);
  await response.arrayBuffer();
  return response.ok;
}

function howToStart({ node, ...parts }, name) {
  return { ...toolsOf(parts, name), ...(node === undefined ? {} : { node }) };
}

function toolsOf({ collectable, heap, profiles }, name) {
  if (collectable) return COLLECTABLE;
  if (heap !== undefined) return heapWritten(join(heap, HEAP_NAME));
  return profiles === undefined ? {} : profiled(join(profiles, `${name.replaceAll(/\W/g, "-")}.cpuprofile`));
}
