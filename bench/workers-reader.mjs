// A process of bench/workers-reading.mjs, in one of three parts: `own` reads a change stream of its own, as a worker does;
// `reader` reads one and hands its bytes on; `handed` works on bytes that it was handed.
import { connect, createServer } from "node:net";
import { MongoClient } from "mongodb";
import { RawChangeStream } from "../dist/source/change-stream.js";
import { readCommits } from "../dist/source/read-commits.js";

const [, , part, uri, database, path, workers] = process.argv;
const namespace = `${database}.items`;
let changes = 0;
process.on("message", () => process.send({ cpu: process.cpuUsage(), changes }));

async function follow(stream) {
  for await (const { commits } of readCommits(stream, new Set([namespace]))) {
    for (const { events } of commits) changes += events.length;
  }
}

async function openStream() {
  const client = await new MongoClient(uri).connect();
  return RawChangeStream.open(
    client,
    { now: true },
    {
      database,
      namespaces: [namespace],
      images: true,
      batchSize: 1_000,
      maxAwaitMs: 1_000,
      stallTimeoutMs: 30_000,
    },
  );
}

/** A batch as bytes: its length, the token's length, the token, the events, whose lengths BSON says itself. */
function toBytes({ events, postBatchToken = Buffer.alloc(0) }) {
  const head = Buffer.alloc(8);
  const whole = Buffer.concat([head, postBatchToken, ...events]);
  whole.writeUInt32LE(whole.length, 0);
  whole.writeUInt32LE(postBatchToken.length, 4);
  return whole;
}

function fromBytes(whole) {
  const from = 8 + whole.readUInt32LE(4);
  const events = [];
  for (let at = from; at < whole.length; at += events.at(-1).length) {
    events.push(whole.subarray(at, at + whole.readInt32LE(at)));
  }
  return { events, postBatchToken: from === 8 ? undefined : whole.subarray(8, from), ended: false };
}

async function handOn() {
  const sockets = [];
  const all = new Promise((resolve) => {
    const server = createServer((socket) => sockets.push(socket) === Number(workers) && resolve());
    server.listen(path, () => process.send("listening"));
  });
  const stream = await openStream();
  await all;
  process.send("ready");
  for (;;) {
    const batch = await stream.next();
    changes += batch.events.length;
    const bytes = toBytes(batch);
    for (const socket of sockets) socket.write(bytes);
  }
}

async function followHanded() {
  const batches = [];
  let wake = () => {};
  let rest = Buffer.alloc(0);
  connect(path).on("data", (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    while (rest.length >= 4 && rest.length >= rest.readUInt32LE(0)) {
      const length = rest.readUInt32LE(0);
      batches.push(fromBytes(rest.subarray(0, length)));
      rest = rest.subarray(length);
    }
    wake();
  });
  process.send("ready");
  const next = async () => {
    while (batches.length === 0) {
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
    return batches.shift();
  };
  await follow({ next });
}

if (part === "reader") await handOn();
else if (part === "handed") await followHanded();
else {
  const stream = await openStream();
  process.send("ready");
  await follow(stream);
}
