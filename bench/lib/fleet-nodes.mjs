/** The nodes of bench/fleet.mjs in their processes, and the writes that they read. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuMs } from "./processes.mjs";

const DOCUMENTS = 1_000;
const PAD_BYTES = 240;
/** Writes before anything is measured. */
const WARM_UP = 200;
/** Nodes that have received nothing for this long have everything. */
const QUIET_MS = 300;
const TIMEOUT_MS = 120_000;

/** Milliseconds of the machine's monotonic clock, which all its processes share. */
export const clockMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Nodes, the first of which fills the tail and has a process of its own. */
export class Fleet {
  #processes;
  #bare;
  #mongo;
  #database;
  #items;
  #about;
  /** Nodes in each process. */
  #counts = [];
  /** Writes since the last `deliver` began. */
  written = 0;

  constructor(processes, bare, mongo) {
    this.#processes = processes;
    this.#bare = bare;
    this.#mongo = mongo;
  }

  get #used() {
    return this.#processes.slice(0, this.#counts.length);
  }

  async start(nodes, { uri, redisUrl }) {
    this.#database = `bench-fleet-${randomBytes(4).toString("hex")}`;
    const db = this.#mongo.db(this.#database);
    const options = { changeStreamPreAndPostImages: { enabled: true } };
    this.#items = await db.createCollection("items", options);
    const pad = "x".repeat(PAD_BYTES);
    await this.#items.insertMany(Array.from({ length: DOCUMENTS }, (_, i) => ({ _id: i, n: 0, pad })));
    this.#about = { uri, database: this.#database, redisUrl };
    const others = nodes - 1;
    const shares = this.#processes.length - 1;
    const share = (i) => Math.floor(others / shares) + (i < others % shares ? 1 : 0);
    this.#counts = [1, ...Array.from({ length: shares }, (_, i) => share(i))].filter((count) => count > 0);
    for (const [i, count] of this.#counts.entries()) {
      await this.#processes[i].call("start", { count, ...this.#about });
      if (i === 0) await this.#areReading();
    }
    await this.#areReading();
    if (redisUrl !== undefined && !(await this.#processes[0].call("leads")))
      throw new Error("another node than the first one fills the tail");
    await this.#warmUp();
  }

  /** The first changes build structures that are not to be measured. A node may begin with changes from before its start. */
  async #warmUp() {
    await Promise.all(this.#used.map((each) => each.call("arm", { isNoting: false })));
    await this.writeBursts(WARM_UP, 1);
    let before = "";
    await until("the nodes to be quiet", async () => {
      await sleep(QUIET_MS);
      const counts = await Promise.all(this.#used.map((each) => each.call("received")));
      const isQuiet = JSON.stringify(counts) === before && counts.every(({ least }) => least >= WARM_UP);
      before = JSON.stringify(counts);
      return isQuiet;
    });
  }

  async #areReading() {
    const source = this.#about.redisUrl === undefined ? "mongodb" : "tail";
    await until("all nodes to read", async () => {
      const reads = (await Promise.all(this.#used.map((each) => each.call("reads").catch(() => [])))).flat();
      return reads.length > 0 && reads.every((each) => each === source);
    });
  }

  /** CPU time of the first node, and of the others together. */
  cpuMs() {
    const [first, ...others] = this.#used.map(({ pid }) => cpuMs(pid));
    return { first, others: others.reduce((sum, ms) => sum + ms, 0) };
  }

  /** Writes, and waits until every node has everything. */
  async deliver(write, { isNoting = false, bare } = {}) {
    const all = bare === undefined ? this.#used : [bare, ...this.#used];
    await Promise.all(all.map((each) => each.call("arm", { isNoting })));
    this.written = 0;
    await write();
    await until("all changes to arrive", async () => {
      const counts = await Promise.all(all.map((each) => each.call("received")));
      for (const { most } of counts)
        if (most > this.written) throw new Error(`${most} changes arrived of ${this.written}`);
      return counts.every(({ least }) => least === this.written);
    });
  }

  /** How much later than at a bare stream each change arrived at each node, in milliseconds. */
  async delays(write) {
    await this.#bare.call("start", { isBare: true, ...this.#about });
    try {
      await this.deliver(write, { isNoting: true, bare: this.#bare });
      const [bare] = await this.#bare.call("times");
      const times = (await Promise.all(this.#used.map((each) => each.call("times")))).flat();
      return times.flatMap((each) => Array.from(each, (at, i) => at - bare[i]));
    } finally {
      await this.#bare.call("stop");
    }
  }

  async writeBursts(size, count, everyMs = 0) {
    for (let burst = 0; burst < count; burst++) {
      const operations = Array.from({ length: size }, (_, i) => ({
        updateOne: { filter: { _id: i % DOCUMENTS }, update: { $inc: { n: 1 } } },
      }));
      await this.#items.bulkWrite(operations, { ordered: false });
      this.written += size;
      if (everyMs > 0) await sleep(everyMs);
    }
  }

  async writePaced({ perSecond, forMs }) {
    const startedMs = clockMs();
    const count = (perSecond * forMs) / 1_000;
    for (let i = 0; i < count; i++) {
      const waitMs = startedMs + (i * 1_000) / perSecond - clockMs();
      if (waitMs > 0) await sleep(waitMs);
      await this.#items.updateOne({ _id: i % DOCUMENTS }, { $inc: { n: 1 } });
      this.written++;
    }
  }

  async stop() {
    await Promise.all([...this.#used].reverse().map((each) => each.call("stop")));
    this.#counts = [];
    for (const name of [this.#database, `${this.#database}-state`]) await this.#mongo.db(name).dropDatabase();
  }
}

async function until(what, isTrue) {
  for (const giveUpAt = clockMs() + TIMEOUT_MS; !(await isTrue()); await sleep(20))
    if (clockMs() > giveUpAt) throw new Error(`waited in vain for ${what}`);
}
