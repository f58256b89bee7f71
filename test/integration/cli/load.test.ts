/** `tidewire load` against the service, with real writers; and with a network between them that loses and repeats. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import type { LoadResult } from "../../../src/cli/load/result.ts";
import type { Io } from "../../../src/terminal/io.ts";
import { runCommand } from "../../support/command.ts";
import { startMessageProxy, type Tamper } from "../../support/message-proxy.ts";
import { type ReplicaSetOptions, startReplicaSet, until } from "../../support/mongod.ts";
import { SECRET, startTestService, type TestServiceOptions } from "../../support/service.ts";

const COLLECTIONS = {
  orders: { rules: [{ name: "customer", filter: { customer: "%%user.sub" } }] },
  items: { rules: [{ name: "all" }] },
};

/** Two documents for each of four users. */
const ORDERS = {
  claims: { sub: "user-{{i}}" },
  subscriptions: [{ collection: "orders", filter: { customer: "{{user}}" } }],
  documents: 8,
  document: { customer: "user-{{d % 4}}", n: "{{d}}" },
};

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-load-"));
  await writeFile(join(folder, "secret"), SECRET);
  return () => rm(folder, { recursive: true });
});

async function start(options: Partial<TestServiceOptions> = {}) {
  // Without a history, a slow machine resets users while the writers write.
  const history = { window: "5m" };
  const world = await startTestService({ collections: COLLECTIONS, history, ...options });
  const url = `ws://127.0.0.1:${world.service.address.port}`;
  const writing = ["--mongodb", world.uri, "--database", world.name];
  return { ...world, url, writing };
}

/** Runs the command with short times, except for the deliveries at the end, which only a loss makes it wait for. */
async function load(
  url: string,
  scenario: object,
  args: readonly string[],
  signal?: AbortSignal,
  io: Partial<Io> = {},
) {
  const json = join(folder, `${Math.random()}.json`);
  const argv = ["load", "--url", url, "--scenario", JSON.stringify(scenario), "--connections", "4"];
  const times = ["--ramp", "100", "--warm-up", "0s", "--duration", "2s", "--settle", "60s"];
  const files = ["--secret-file", join(folder, "secret"), "--json", json];
  const given = signal === undefined ? io : { ...io, signal };
  const { code, out, err } = await runCommand([...argv, ...times, ...files, ...args], given);
  const text = await readFile(json, "utf8");
  return { code, out, err, result: (text === "" ? null : JSON.parse(text)) as LoadResult };
}

const SOUND = { lost: 0, repeated: 0, outOfOrder: 0, unmarked: 0, stopped: 0, resets: 0 };

test("every write arrives at the user who sees it, and the times of all are measured", async () => {
  const { url, writing, db } = await start();
  const svg = join(folder, "load.svg");
  const { code, out, result } = await load(url, ORDERS, [...writing, "--rate", "100", "--svg", svg]);
  expect(out).toMatch(/OK: every write arrived once, in order$/);
  expect(code).toBe(0);
  const { counts, writes, connect, snapshot, delivery } = result;
  expect(counts).toMatchObject({ ...SOUND, ready: 4, attempts: 4, disconnects: 0, snapshotDocuments: 8 });
  // Each document belongs to one user, so that there is at most one delivery for each write. The first results of the
  // users contain those from before.
  expect(writes?.wanted).toBeGreaterThanOrEqual(200);
  expect(writes?.writes).toBeGreaterThan(100);
  expect(counts.received).toBeLessThanOrEqual(writes?.writes ?? 0);
  expect(counts.received).toBeGreaterThan(100);
  expect(connect?.count).toBe(4);
  expect(snapshot?.count).toBe(4);
  expect(delivery?.count).toBeGreaterThan(50);
  expect(delivery?.p50).toBeGreaterThan(0);
  expect(result).toMatchObject({ unfinished: 0, blind: 0, errors: [], failures: [] });
  expect(result.series.length).toBeGreaterThan(1);
  expect(JSON.stringify(result)).not.toContain("mongodb://");
  expect(await readFile(svg, "utf8")).toMatch(/^<svg /);
  // The documents of the run are deleted at its end.
  expect(await db.collection("orders").countDocuments()).toBe(0);
});

test("several threads and several writers share one run, and users see the documents of all writers", async () => {
  const { url, writing, db } = await start();
  const scenario = {
    subscriptions: [{ collection: "items", fields: ["n"] }],
    documents: 6,
    document: { n: 1 },
  };
  const more = ["--workers", "2", "--writers", "3", "--rate", "30", "--keep"];
  const { code, result } = await load(url, scenario, [...writing, ...more]);
  expect(code).toBe(0);
  const { counts, writes } = result;
  expect(counts).toMatchObject({ ...SOUND, ready: 4, snapshotDocuments: 24 });
  expect(counts.received).toBeLessThanOrEqual((writes?.writes ?? 0) * 4);
  expect(counts.received).toBeGreaterThan(200);
  expect(await db.collection("items").countDocuments()).toBe(6);
});

test("users leave, come back and continue, and nothing is lost meanwhile", async () => {
  const { url, writing } = await start();
  const more = ["--leavers", "50%", "--stay", "5s", "--away", "300ms", "--rate", "50", "--duration", "9s"];
  const { code, result } = await load(url, ORDERS, [...writing, ...more]);
  expect(code).toBe(0);
  expect(result.counts).toMatchObject({ ...SOUND, ready: 4, disconnects: 0 });
  expect(result.resume?.count).toBeGreaterThanOrEqual(2);
  expect(result.counts.attempts).toBe(4 + (result.resume?.count ?? 0));
  expect(result.counts.caughtUp).toBeGreaterThan(0);
});

/** Changes what the first user of the run receives; the connection before it is the probe. */
function tamperWith(change: (messages: string[]) => readonly string[]): Tamper {
  let held: string[] = [];
  let isDone = false;
  return (message, connection) => {
    if (isDone || connection !== 1 || JSON.parse(message).type !== "changed") return [message];
    held.push(message);
    if (held.length < 3) return [];
    isDone = true;
    const messages = held;
    held = [];
    return change(messages);
  };
}

test.each<[string, (messages: string[]) => readonly string[], object, RegExp]>([
  [
    "loses one message",
    ([first = "", , third = ""]) => [first, third],
    { lost: 1, repeated: 0, outOfOrder: 0 },
    /FAILED: 1 delivery lost$/,
  ],
  [
    "repeats one message",
    ([first = "", second = "", third = ""]) => [first, second, second, third],
    { lost: 0, repeated: 1, outOfOrder: 0 },
    /FAILED: 1 delivery repeated$/,
  ],
  [
    "swaps two messages",
    ([first = "", second = "", third = ""]) => [first, third, second],
    { lost: 0, repeated: 0, outOfOrder: 1 },
    /FAILED: 1 delivery out of order$/,
  ],
])("a network that %s fails the run", async (_title, change, counts, verdict) => {
  const { url, writing } = await start();
  const proxy = await startMessageProxy(url, tamperWith(change));
  const { code, out, result } = await load(proxy, ORDERS, [...writing, "--rate", "50"]);
  expect(result.counts).toMatchObject(counts);
  expect(out).toMatch(verdict);
  expect(code).toBe(1);
});

test("a change that never arrives is lost at the end, though no later one shows the gap", async () => {
  const { url, writing } = await start();
  let changes = 0;
  const proxy = await startMessageProxy(url, (message, connection) => {
    if (connection !== 1 || JSON.parse(message).type !== "changed") return [message];
    return ++changes > 5 ? [] : [message];
  });
  // The others must have their last changes by then.
  const more = ["--rate", "50", "--settle", "10s"];
  const { code, result } = await load(proxy, ORDERS, [...writing, ...more]);
  // The first user sees a quarter of the writes. Its first result has some of them, and five have arrived.
  expect(result.counts.lost).toBeLessThanOrEqual(Math.ceil((result.writes?.writes ?? 0) / 4) - 5);
  expect(result.counts.lost).toBeGreaterThan(3);
  expect(result.counts).toMatchObject({ repeated: 0, outOfOrder: 0 });
  expect(code).toBe(1);
});

/** A proxy whose signal aborts when so many users have their first results and have received some changes since. */
async function stopWhenFollowing(url: string, users: number, tamper: Tamper = (message) => [message]) {
  const abort = new AbortController();
  const withResult = new Set<number>();
  let changes = 0;
  const proxy = await startMessageProxy(url, (message, connection) => {
    const { type } = JSON.parse(message);
    // The first connection is the probe.
    if (type === "snapshot" && connection > 0) withResult.add(connection);
    if (type === "changed" && withResult.size >= users && ++changes === 20) abort.abort();
    return tamper(message, connection);
  });
  return { proxy, signal: abort.signal };
}

test("Ctrl-C ends the run with the results so far", async () => {
  const { url, writing, db } = await start();
  const { proxy, signal } = await stopWhenFollowing(url, 4);
  const args = [...writing, "--rate", "50", "--duration", "10m", "--max-time", "3m"];
  const { code, out, result } = await load(proxy, ORDERS, args, signal);
  expect(out).toMatch(/Ended early: it was stopped[\s\S]*OK: every write arrived once, in order$/);
  expect(result.counts).toMatchObject({ ...SOUND, ready: 4 });
  expect(result.counts.received).toBeGreaterThan(0);
  expect(code).toBe(0);
  expect(await db.collection("orders").countDocuments()).toBe(0);
});

test("a user without fault that is still connecting when a run is stopped does not fail it", async () => {
  const { url, writing } = await start();
  // The last user receives no welcome.
  const silent: Tamper = (message, connection) => (connection === 4 ? [] : [message]);
  const { proxy, signal } = await stopWhenFollowing(url, 3, silent);
  const args = [...writing, "--rate", "50", "--duration", "10m", "--max-time", "3m"];
  const { code, result } = await load(proxy, ORDERS, args, signal);
  expect(result).toMatchObject({ unfinished: 0, failures: [] });
  expect(result.counts.ready).toBeLessThan(4);
  expect(code).toBe(0);
});

test.each([
  ["--max-time", "15s", "--max-time is over"],
  // More than the first results, so that the users have received changes by then.
  ["--max-bytes", "20KiB", "--max-bytes were received"],
])("%s %s ends the run with the results so far", async (flag, value, reason) => {
  const { url, writing } = await start();
  const args = [...writing, "--rate", "50", "--duration", "10m", flag, value];
  const { code, result } = await load(url, ORDERS, args);
  expect(result).toMatchObject({ endedEarly: reason, failures: [] });
  expect(code).toBe(0);
});

test("a percentile above --p99 fails the run", async () => {
  const { url, writing } = await start();
  const { code, out } = await load(url, ORDERS, [...writing, "--p99", "1ms"]);
  expect(out).toMatch(/FAILED: the 99th percentile .* at most 1 ms \(--p99\): it is/);
  expect(code).toBe(1);
});

test("subscriptions that see no document of the writers are named, because nothing was checked", async () => {
  const { url, writing } = await start();
  const { code, out, result } = await load(url, { ...ORDERS, document: { customer: "nobody" } }, writing);
  expect(result.blind).toBe(4);
  expect(out).toMatch(/FAILED: 4 subscriptions never saw a document of the writers/);
  expect(code).toBe(1);
});

test("subscriptions of a collection that the writers do not write need not see a document", async () => {
  const { url, writing } = await start();
  const subscriptions = [...ORDERS.subscriptions, { collection: "items" }];
  const { code, result } = await load(url, { ...ORDERS, subscriptions }, writing);
  expect(result).toMatchObject({ blind: 0, failures: [] });
  expect(code).toBe(0);
});

test("a rule that hides the marks fails the run, because nothing was checked", async () => {
  const rules = [{ name: "customer", filter: { customer: "%%user.sub" }, fields: { exclude: ["load"] } }];
  const { url, writing } = await start({ collections: { orders: { rules } } });
  const { code, out } = await load(url, ORDERS, writing);
  expect(out).toMatch(/FAILED: 4 subscriptions never saw .*The rules must show the field `load`/);
  expect(code).toBe(1);
});

test("an outage is part of the delivery times, and the time until users are live again is that of `resume`", async () => {
  const { url, writing } = await start();
  // Only writes that are due in the measured part count. A line of the progress says when it has begun.
  let measuredFromMs = Number.POSITIVE_INFINITY;
  const err = (text: string) => {
    if (text.includes(" measure ")) measuredFromMs = Math.min(measuredFromMs, Date.now());
  };
  let isCut = false;
  const proxy = await startMessageProxy(url, (message, connection) => {
    const { type, doc } = JSON.parse(message);
    if (isCut || connection !== 1 || type !== "changed" || doc.load.at < measuredFromMs) return [message];
    isCut = true;
    return "cut";
  });
  const args = [...writing, "--rate", "50", "--duration", "6s"];
  const io = { err, terminal: true, env: { NO_COLOR: "1" } };
  const { code, out, result } = await load(proxy, ORDERS, args, undefined, io);
  expect(result.counts).toMatchObject({ ...SOUND, disconnects: 1, caughtUp: 0 });
  expect(result.resume?.count).toBe(1);
  // The message that was cut off arrived with the resumption, so its delivery contains the outage.
  expect(result.delivery?.max).toBeGreaterThanOrEqual((result.resume?.min ?? 0) - 1);
  expect(out).toMatch(/^resume +1 /m);
  expect(code).toBe(0);
});

test("--max-time ends a run that waits for deliveries at the end", async () => {
  const { url, writing } = await start();
  const proxy = await startMessageProxy(url, (message, connection) =>
    connection === 1 && JSON.parse(message).type === "changed" ? [] : [message],
  );
  const times = ["--duration", "1s", "--settle", "10m", "--max-time", "10s"];
  const { code, result } = await load(proxy, ORDERS, [...writing, "--rate", "50", ...times]);
  expect(result.endedEarly).toBe("--max-time is over");
  expect(result.counts.lost).toBeGreaterThan(0);
  expect(code).toBe(1);
});

test("Ctrl-C ends a run whose first user has no answer", async () => {
  const abort = new AbortController();
  const silent = createTcpServer(() => abort.abort()).listen(0, "127.0.0.1");
  onTestFinished(() => void silent.close());
  await new Promise((resolve) => silent.once("listening", resolve));
  const { port } = silent.address() as AddressInfo; // it listens on a port
  const { code, err } = await load(`ws://127.0.0.1:${port}`, ORDERS, [], abort.signal);
  expect(err).toMatch(/the run has ended before it began: it was stopped/);
  expect(code).toBe(1);
});

/** A replica set of its own, to which the writers write. The users do not see its documents. */
async function startWriterSet(options: ReplicaSetOptions = {}) {
  const set = await startReplicaSet({ members: 1, ...options });
  onTestFinished(() => set.stop());
  const [member] = set.members;
  if (member === undefined) throw new Error("no member");
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  const orders = client.db("shop").collection("orders");
  const written = async () => (await orders.countDocuments({ "load.n": { $gt: 2 } })) > 0;
  return { member, orders, written, args: ["--mongodb", set.uri, "--database", "shop"] };
}

test.each<[string, NodeJS.Signals, RegExp]>([
  ["ends", "SIGKILL", /a writer failed: MongoDB cannot be reached/],
  ["does not answer", "SIGSTOP", /a writer failed: MongoDB did not acknowledge the last writes/],
])(
  "a MongoDB that %s costs no result, and the report says what remains there",
  async (_title, signal, failure) => {
    const { url } = await start();
    const { member, written, args } = await startWriterSet();
    const abort = new AbortController();
    let isFrozen = false;
    const lost = until("writes", written).then(async () => {
      await member.kill(signal);
      isFrozen = signal === "SIGSTOP";
    });
    // A second without a write, although 50 were due: one is on its way, and has no answer.
    const err = (text: string) => {
      if (isFrozen && text.includes("· 0 writes/s")) abort.abort();
    };
    const io = { err, terminal: true, env: { NO_COLOR: "1" } };
    const times = ["--rate", "50", "--duration", "10m", "--max-time", "3m"];
    const [{ code, out, result }] = await Promise.all([
      load(url, ORDERS, [...args, ...times], abort.signal, io),
      lost,
    ]);
    if (signal === "SIGSTOP") await member.kill("SIGCONT");
    expect(result.failures[0]).toMatch(failure);
    expect(result.writes?.writes).toBeGreaterThan(0);
    expect(result.leftover).toMatch(
      /^Up to 8 documents of this run \(load-\w+-…\) may remain in shop\.orders/,
    );
    expect(out).toContain(`.deleteMany({ _id: {"$gte":"load-${result.run}-","$lt":"load-${result.run}."} })`);
    expect(code).toBe(1);
  },
);

test("--max-time ends a run before its first write if MongoDB does not answer", async () => {
  const { url } = await start();
  const { member, args } = await startWriterSet();
  await member.kill("SIGSTOP");
  const { code, err } = await load(url, ORDERS, [...args, "--max-time", "1s"]);
  expect(err).toMatch(/the run has ended before it began: --max-time is over/);
  expect(code).toBe(1);
});

test("a deployment with a member on another machine is refused before the first write", async () => {
  const { url } = await start();
  // The address of this machine as one number: the command does not know it, and both mongod and the driver reach it.
  const addressOf = async ({ port }: { readonly port: number }) => `2130706433:${port}`;
  const { member, orders } = await startWriterSet({ addressOf });
  const uri = `mongodb://127.0.0.1:${member.port}`;
  const { code, err } = await load(url, ORDERS, ["--mongodb", uri, "--database", "shop"]);
  expect(err).toMatch(/members that are not on this machine: 2130706433:\d+.*--i-own-this-target/);
  expect(code).toBe(2);
  expect(await orders.countDocuments()).toBe(0);
});

async function closedPort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startWebServer(): Promise<Server> {
  const server = createServer((_request, response) => response.writeHead(404).end("not here"));
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => void server.close());
  return server;
}

type Mistake = (world: Awaited<ReturnType<typeof start>>) => Promise<{
  readonly url?: string;
  readonly scenario?: object;
  readonly args?: readonly string[];
}>;

test.each<[string, Mistake, RegExp]>([
  [
    "a port where nothing listens",
    async () => ({ url: `ws://127.0.0.1:${await closedPort()}` }),
    /ECONNREFUSED[\s\S]*Nothing listens there\. Is the service running\?/,
  ],
  [
    "the port of another server",
    async () => ({ url: `ws://127.0.0.1:${((await startWebServer()).address() as AddressInfo).port}` }),
    /HTTP 404: not here[\s\S]*No Tidewire service answers there/,
  ],
  [
    "the port of the admin listener",
    async ({ service }) => ({ url: `ws://127.0.0.1:${service.adminAddress.port}` }),
    /not the admin listener/,
  ],
  [
    "a host that does not exist",
    async () => ({ url: "ws://nowhere.invalid", args: ["--i-own-this-target"] }),
    /unknown/,
  ],
  [
    "another secret",
    async () => {
      await writeFile(join(folder, "other-secret"), "x".repeat(32));
      return { args: ["--secret-file", join(folder, "other-secret")] };
    },
    /unauthenticated[\s\S]*Compare the secret or key with auth\.jwt/,
  ],
  [
    "a collection that is not configured",
    async () => ({ scenario: { subscriptions: [{ collection: "orderz" }] } }),
    /unknown-collection[\s\S]*under `collections`/,
  ],
  [
    "a filter that the service refuses",
    async () => ({ scenario: { subscriptions: [{ collection: "items", filter: { $where: "1" } }] } }),
    /bad-filter/,
  ],
])("%s is reported once, with what to do", async (_title, mistake, message) => {
  const world = await start();
  const { url = world.url, scenario = ORDERS, args = [] } = await mistake(world);
  const { code, err } = await load(url, scenario, args);
  expect(err).toMatch(message);
  expect(err).toContain("so no other was tried");
  expect(code).toBe(1);
});

test("users without a rule are refused, with the command that explains it", async () => {
  const rules = [{ name: "staff", when: { "%%user.roles": "staff" } }];
  const { url } = await start({ collections: { orders: { rules } } });
  const { code, err } = await load(url, ORDERS, []);
  expect(err).toMatch(/forbidden[\s\S]*tidewire explain/);
  expect(code).toBe(1);
});

test("a service that wants a token says so to a run without one", async () => {
  const { url } = await start();
  const argv = ["load", "--url", url, "--scenario", JSON.stringify(ORDERS)];
  const { code, err } = await runCommand(argv);
  expect(err).toMatch(/unauthenticated[\s\S]*No token was sent: give --secret-file/);
  expect(code).toBe(1);
});

test("more connections than the service permits for one address are named with the limit", async () => {
  const { url, writing } = await start({ limits: { connectionsPerAddress: 2 } });
  const { code, out, err, result } = await load(url, ORDERS, [...writing, "--max-time", "10s"]);
  expect(err).toMatch(/permits 2 connections from one address \(limits\.connectionsPerAddress\).* wants 4/);
  expect(out).toMatch(/connectionsPerAddress.*[\s\S]*All connections of one machine have one address/);
  expect(out).toMatch(/FAILED: .*2 users never received a first result/);
  expect(result.counts.ready).toBe(2);
  expect(code).toBe(1);
});

test("a MongoDB that cannot be reached is reported before anything connects to the service", async () => {
  const { url } = await start();
  const uri = `mongodb://127.0.0.1:${await closedPort()}/shop?serverSelectionTimeoutMS=500`;
  const { code, err } = await load(url, ORDERS, ["--mongodb", uri]);
  expect(err).toMatch(/MongoDB cannot be reached/);
  expect(code).toBe(1);
});

test("a validator that refuses the documents is named", async () => {
  const { url, writing, db } = await start();
  await db.createCollection("checked", { validator: { total: { $type: "int" } } });
  const { code, err } = await load(url, ORDERS, [...writing, "--collection", "checked"]);
  expect(err).toMatch(/the validator of .*\.checked refuses the documents/);
  expect(code).toBe(1);
});

test("writers without the right to write are named with the role that they need", async () => {
  const { url } = await start();
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = await new MongoClient(set.uri).connect();
  await root.db("admin").command({ createUser: "app", pwd: "app", roles: [{ role: "read", db: "shop" }] });
  await root.close();
  const write = (user: string) =>
    load(url, ORDERS, ["--mongodb", set.uriFor({ user, password: "app" }), "--database", "shop"]);
  expect((await write("app")).err).toMatch(
    /the user of --mongodb may not write to shop\.orders: grant it readWrite on shop/,
  );
  expect((await write("nobody")).err).toMatch(/MongoDB refuses the name or the password/);
});
