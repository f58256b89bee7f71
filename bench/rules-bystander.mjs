/** A client of `rules.mjs` that has nothing to do with any edit, and its writer: how late do changes arrive? */
import { setTimeout as sleep } from "node:timers/promises";
import { MongoClient, WebSocket } from "./lib/product.mjs";
import { collectionNames } from "./lib/rule-sets.mjs";
import { clockMs, options, serve } from "./lib/serve.mjs";
import { tokenFor } from "./lib/tokens.mjs";

const [name] = collectionNames;
const client = new MongoClient(options.uri, { writeConcern: { w: "majority" } });
const collection = client.db(options.database).collection(name);
const arrived = new Map();
let written = 0;
let onArrival = () => {};

function connect() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${options.port}/v1/ws`, ["tidewire.v1"]);
    const send = (message) => socket.send(JSON.stringify(message));
    socket.on("error", reject);
    socket.on("close", (code) => reject(new Error(`the bystander was closed: ${code}`)));
    socket.on("open", () => {
      send({ type: "hello", token: tokenFor("bystander", { roles: ["admin"] }) });
      send({ type: "subscribe", id: "all", collection: name, snapshot: false });
    });
    socket.on("message", (data) => {
      const at = clockMs();
      const message = JSON.parse(data);
      if (message.type === "error") reject(new Error(String(data)));
      if (message.type === "subscribed") resolve();
      if (message.type !== "added") return;
      arrived.set(message.doc.n, at);
      onArrival();
    });
  });
}

serve({
  async ready() {
    await client.connect();
    await connect();
  },

  /**
   * Writes for so long, so many a second, one by one.
   * @returns How late each change arrived, from the acknowledgement of its write, in milliseconds.
   */
  async pace({ perSecond, forMs }) {
    const startMs = clockMs();
    const acknowledged = new Map();
    const writes = [];
    for (let i = 0; (i * 1_000) / perSecond < forMs; i++) {
      const wait = startMs + (i * 1_000) / perSecond - clockMs();
      if (wait > 0) await sleep(wait);
      const n = written++;
      writes.push(collection.insertOne({ n, status: "open" }).then(() => acknowledged.set(n, clockMs())));
    }
    await Promise.all(writes);
    while (![...acknowledged.keys()].every((n) => arrived.has(n)))
      await new Promise((resolve) => {
        onArrival = resolve;
      });
    return [...acknowledged].map(([n, at]) => arrived.get(n) - at);
  },
});
