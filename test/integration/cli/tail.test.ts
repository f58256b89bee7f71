/** `tidewire tail`, run in this process against the service, with the network between them in the test's hands. */
import { once } from "node:events";
import { connect as connectTo, createServer, type Socket } from "node:net";
import type { Db } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { runCli } from "../../../src/cli/run-cli.ts";
import type { Io } from "../../../src/terminal/io.ts";
import { until } from "../../support/mongod.ts";
import { signToken, startTestService } from "../../support/service.ts";

const ORDERS = {
  orders: {
    rules: [{ name: "customer", filter: { customer: "%%user.sub" }, fields: { exclude: ["margin"] } }],
  },
};
const RECONNECT = { reconnect: { min: "10ms", max: "100ms" } };

const orders = (db: Db) =>
  db.collection<{ _id: number; customer: string; [field: string]: unknown }>("orders");

/** Runs the command line until the test ends, and keeps what it says. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const out: string[] = [];
  const notes: string[] = [];
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  const io: Io = {
    out: (text) => out.push(text),
    err: (text) => notes.push(text),
    env,
    now: Date.now,
    signal: abort.signal,
  };
  const said = (text: string) => until(text, async () => notes.some((note) => note.includes(text)));
  const printed = (count: number) => until(`${count} lines`, async () => out.length >= count);
  return { code: runCli(args, io), out, notes, said, printed, stop: () => abort.abort() };
}

/** Stands between tail and service, and cuts what goes through it. */
async function startProxy(port: number) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connectTo(port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket
        .on("error", () => {})
        .on("close", () => {
          sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
    }
    client.pipe(upstream).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    server.close();
    cut();
  });
  return { url: `ws://127.0.0.1:${address.port}`, cut };
}

test("prints the documents and then each change, and resumes after a cut", async () => {
  const { service, db } = await startTestService({ collections: ORDERS, server: RECONNECT });
  await orders(db).insertOne({ _id: 1, customer: "u1", total: 3, margin: 1 });
  const { url, cut } = await startProxy(service.address.port);
  const token = await signToken({ sub: "u1" });
  const tail = run(["tail", "--url", url, "--collection", "orders", "--token", token]);
  await tail.said("1 document; changes follow");
  await orders(db).insertOne({ _id: 2, customer: "u1", margin: 1 });
  await orders(db).insertOne({ _id: 3, customer: "u2" });
  await tail.printed(2);
  cut();
  await orders(db).updateOne({ _id: 2 }, { $set: { total: 5 } });
  await orders(db).deleteOne({ _id: 1 });
  await tail.said("resumed");
  await tail.printed(4);
  tail.stop();
  expect(await tail.code).toBe(0);
  expect(tail.out).toEqual([
    '= {"_id":1,"customer":"u1","total":3}',
    '+ insert {"_id":2,"customer":"u1"}',
    '~ update {"_id":2,"customer":"u1","total":5}',
    "- delete 1",
  ]);
  expect(tail.notes).toEqual([
    `-- connecting to ${url}/v1/ws`,
    expect.stringMatching(/^-- connected to node .+ as u1$/),
    "-- subscribed: the documents follow",
    "-- 1 document; changes follow as they come",
    expect.stringMatching(/^-- connection lost \(1006.*\): again in \d\.\d s$/),
    `-- connecting to ${url}/v1/ws`,
    expect.stringMatching(/^-- connected to node .+ as u1$/),
    "-- resumed: what was missed follows, then what comes",
  ]);
});

test("sends the requested options, and prints messages as they arrived", async () => {
  const { service, db } = await startTestService({ collections: ORDERS });
  await orders(db).insertMany([
    { _id: 1, customer: "u1", total: 3, at: new Date(0) },
    { _id: 2, customer: "u1", total: 9, at: new Date(0) },
  ]);
  const request = ["--collection", "orders", "--filter", '{"total":{"$gt":5}}', "--fields", "at"];
  const url = `http://127.0.0.1:${service.address.port}`;
  const tail = run(["tail", "--url", url, ...request, "--values", "ejson", "--json"], {
    TIDEWIRE_TOKEN: await signToken({ sub: "u1" }),
  });
  await tail.printed(3);
  tail.stop();
  const messages = tail.out.map((line) => JSON.parse(line));
  expect(messages.slice(0, 3)).toMatchObject([
    { type: "welcome", user: "u1" },
    { type: "subscribed", start: "snapshot" },
    { type: "snapshot", docs: [{ _id: 2, at: { $date: "1970-01-01T00:00:00Z" } }], last: true },
  ]);
});

test("with --no-snapshot it prints changes only", async () => {
  const { service, db, settled } = await startTestService({ collections: ORDERS });
  await orders(db).insertOne({ _id: 1, customer: "u1" });
  await settled();
  const url = `ws://127.0.0.1:${service.address.port}`;
  const token = await signToken({ sub: "u1" });
  const tail = run(["tail", "--url", url, "--collection", "orders", "--token", token, "--no-snapshot"]);
  await tail.said("subscribed");
  await orders(db).insertOne({ _id: 2, customer: "u1" });
  await tail.printed(1);
  expect(tail.out).toEqual(['+ insert {"_id":2,"customer":"u1"}']);
});

test.each([
  ["a collection that there is not", { collection: "nope" }, /there is no collection "nope"/],
  ["a token that is not genuine", { token: "not.a.token" }, /4401/],
  ["no token", { token: "" }, /4401/],
  ["a path that is not the service's", { path: "/elsewhere" }, /HTTP 404: the WebSocket is at \/v1\/ws/],
])("ends with exit code 1 and prints the reason: %s", async (_what, wrong, text) => {
  const { service } = await startTestService({ collections: ORDERS });
  const {
    collection = "orders",
    path = "",
    token = await signToken({ sub: "u1" }),
  } = wrong as Record<string, string>;
  const url = `ws://127.0.0.1:${service.address.port}${path}`;
  const who = token === "" ? [] : ["--token", token];
  const tail = run(["tail", "--url", url, "--collection", collection, ...who]);
  expect(await tail.code).toBe(1);
  expect(tail.notes.join("\n")).toMatch(text);
});

test("reports that a new token is needed when its own expires", async () => {
  const { service } = await startTestService({ collections: ORDERS, server: RECONNECT });
  const url = `ws://127.0.0.1:${service.address.port}`;
  const token = await signToken({ sub: "u1" }, 2);
  const tail = run(["tail", "--url", url, "--collection", "orders", "--token", token]);
  expect(await tail.code).toBe(1);
  expect(tail.notes.at(-1)).toBe("-- the token is not good any more: get a new one");
});

test.each([
  [["--url", "127.0.0.1:8480", "--collection", "orders"], /--url takes/],
  [[], /--collection is needed/],
  [["--collection", "orders", "--filter", "{a:1}"], /--filter is not JSON/],
  [["--collection", "orders", "--values", "bson"], /--values takes one of json, ejson/],
])("ends with exit code 2 for a command line that is not understood: %j", async (args, text) => {
  const tail = run(["tail", ...args]);
  expect(await tail.code).toBe(2);
  expect(tail.notes.join("\n")).toMatch(text);
});

test("prints the rows of groups, and each row that changes", async () => {
  const { service, db } = await startTestService({ collections: ORDERS });
  await orders(db).insertOne({ _id: 1, customer: "u1", total: 3, margin: 1 });
  const url = `ws://127.0.0.1:${service.address.port}`;
  const token = await signToken({ sub: "u1" });
  const aggregate = '{"by":"total","values":{"orders":{"count":true},"sum":{"sum":"total"}}}';
  const tail = run([
    "tail",
    "--url",
    url,
    "--collection",
    "orders",
    "--token",
    token,
    "--aggregate",
    aggregate,
  ]);
  await tail.said("1 document; changes follow");
  await orders(db).insertOne({ _id: 2, customer: "u1", total: 3 });
  await tail.printed(2);
  tail.stop();
  expect(await tail.code).toBe(0);
  expect(tail.out).toEqual(['= {"_id":3,"orders":1,"sum":3}', '~ insert {"_id":3,"orders":2,"sum":6}']);
});
